from __future__ import annotations

import contextlib
import errno
import io
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from tests.sandbox.run_demo import DEMO, WITHIN_S
from trayagent.config.model import EVENTS
from trayagent.errors import TrayagentError
from trayagent.sandbox import Lab
from trayagent.sandbox.demo import event_words, main_story, stage
from trayagent.sandbox.demo.screen import Screen, for_stdout
from trayagent.sandbox.demo.silence_bar import Lane
from trayagent.sandbox.demo.stopwatch import Stopwatch

COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-9]")


@pytest.fixture
def env() -> dict[str, str]:
    """Return an environment without information about the terminal in which the tests run."""
    dropped = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    kept = {k: v for k, v in os.environ.items() if k not in dropped}
    return kept | {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}


def screen() -> tuple[Screen, io.StringIO]:
    """Return a screen without moving lines, and the output that is written to it."""
    out = io.StringIO()
    return Screen(Console(file=out, width=80, highlight=False, markup=False), moving=False), out


def folder_of(pid: int) -> Path | None:
    """Return the folder of the laboratory that a process has built, or None."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            argv = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            if any(word.endswith("holder.py") for word in argv):
                return Path(argv[-2])
    return None


@contextlib.contextmanager
def on_a_terminal(env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the demo on a separate terminal. End both afterwards."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        DEMO, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        yield child, ours
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def read(descriptor: int, until: bytes | None) -> bytes:
    """Read a terminal until these bytes arrived, or to its end."""
    seen, limit = b"", time.monotonic() + WITHIN_S
    while until is None or until not in seen:
        assert select.select([descriptor], [], [], max(0.0, limit - time.monotonic()))[0], seen
        try:
            seen += os.read(descriptor, 65536)
        except OSError as error:  # EIO is the end of a terminal
            assert error.errno == errno.EIO
            break
    return seen


@pytest.mark.lab
@pytest.mark.usefixtures("possible")
def test_the_demo_shows_a_recovery_beside_a_plain_ssh_that_hangs(env: dict[str, str]) -> None:
    """The demo exits with 0, shows both acts in order in 80 columns of plain text, and its numbers agree."""
    done = subprocess.run(
        [*DEMO, "--rtt", "5"], env=env, capture_output=True, encoding="utf-8", timeout=WITHIN_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    story = r"""does too(.|\n)*From home to the café(.|\n)*10\.20\.0\.2 is here(.|\n)*
 +\d+ ms  the login works, master (?P<old>\d+) is cut off: proven stale
(.|\n)*master (?P=old) is killed
(.|\n)*master (?P<new>\d+) has taken its place(.|\n)*is open again
 +(?P<took>\d+) ms  first byte through the forward
(.|\n)*plain ssh  ━+▶ (?P<silent>[\d.]+) s, not a byte
(.|\n)*-3 s  the kernel says: wlan0 is down; it waits, and kills nothing
(.|\n)*the connection answers: master (?P=new) is kept(.|\n)*
The forward was back (?P<again>\d+) ms after(.|\n)*Master running"""
    told = re.search(story, done.stdout)
    assert told, done.stdout
    assert told["took"] == told["again"]
    assert float(told["silent"]) >= 6


@pytest.mark.lab
@pytest.mark.usefixtures("possible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_and_prints_no_traceback(
    env: dict[str, str], number: signal.Signals
) -> None:
    """An interrupted demo leaves nothing running, restores the cursor, and prints no traceback or colour."""
    with on_a_terminal(env | {"NO_COLOR": "1"}) as (child, terminal):
        seen = read(terminal, b"not a byte")
        assert b"\x1b[?25l" in seen
        folder = folder_of(child.pid)
        assert folder
        assert folder.exists()
        child.send_signal(number)
        seen += read(terminal, None)
        assert child.wait(WITHIN_S) == 128 + number
        assert not folder.exists()
    assert seen.endswith(b"\x1b[?25h") or b"\x1b[?25h" in seen[-200:]
    assert b"Traceback" not in seen
    assert not COLOUR.search(seen)


@pytest.mark.lab
@pytest.mark.usefixtures("possible")
def test_a_recovery_that_is_not_seen_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the café's network is dead, the demo fails and shows the agent's last decisions."""
    real = Lab.switch

    def to_nowhere(lab: Lab, *places: str) -> float:
        t0 = real(lab, *places)
        lab.blackhole(True)
        return t0

    monkeypatch.setattr(Lab, "switch", to_nowhere)
    monkeypatch.setattr(main_story, "WATCH_S", 0.5)
    paper, out = screen()
    with pytest.raises(TrayagentError, match="did not come back") as caught, _hurried(monkeypatch):
        main_story.play(0.0, paper)
    assert caught.value.hint.count("|") == 2
    assert "first byte" not in out.getvalue()


@contextlib.contextmanager
def _hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Shorten the demo's patience once everything is set up."""
    real = stage.Stage.start_plain

    def start_plain(one: stage.Stage) -> float:
        took = real(one)
        one.deadline_s = 2.0
        return took

    monkeypatch.setattr(stage.Stage, "start_plain", start_plain)
    yield


@pytest.mark.lab
def test_a_stopwatch_tells_silence_from_its_own_death(lab: Lab) -> None:
    """A forward that does not exist counts as silence. A stopwatch whose process died raises an error."""
    with Stopwatch(lab.laptop, 9) as watch:
        assert watch.answered() is None
        watch.release()
        assert watch.answered(0.05) is None
        os.kill(watch._program.pid, signal.SIGKILL)
        limit = time.monotonic() + 10
        with pytest.raises(TrayagentError, match="forward_stopwatch ended"):
            while time.monotonic() < limit:  # its end may be detected only a moment after its last answer
                assert watch.answered(0.05) is None


def test_everything_that_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All missing tools are named together, with their packages."""
    real = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, path: None if name in {"sshd", "ip"} else real(name, path=path)
    )
    with pytest.raises(TrayagentError, match="needs `sshd`, `ip`, which") as caught:
        stage.check_machine()
    assert caught.value.code == "tool-missing"
    assert "apt-get install iproute2 openssh-server." in caught.value.hint


def test_another_system_is_named_as_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    """On another system the error says "Linux only" and names no Debian packages."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(TrayagentError, match="Linux only"):
        stage.check_machine()


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_has_words(name: str) -> None:
    """Every event has a text, even an unknown one."""
    pairs = [["added", "10.0.0.1"], ["up", "eth0"]]
    event: dict[str, Any] = {"event": name, "reason": "+10.0.0.1 up=eth0", "pairs": pairs, "pid": 7}
    event |= {"forward": "80:x:80"}
    said = event_words.of_event(event)
    assert said
    assert len(said) <= 80 - 11


def changed(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Return a `network-changed` event with these pairs."""
    return {"event": "network-changed", "pairs": [list(pair) for pair in pairs]}


def test_a_change_is_shown_without_its_consequences() -> None:
    """The text about a change names addresses and links, and is empty if neither changed."""
    assert event_words.of_change(
        changed(("added", "10.20.0.2"), ("removed", "192.168.10.2"), ("down", "eth0"), ("default", "changed"))
    ) == ("10.20.0.2 is here, 192.168.10.2 is gone, eth0 is down")
    assert event_words.of_change(changed(("default", "changed"), ("flicker", "changed"))) == ""


def test_what_was_seen_before_the_moment_was_known_is_at_the_moment() -> None:
    """Events shortly before the measured time count as 0 ms, because the command ends after the kernel's report."""
    assert event_words.milliseconds(10.0, 9.996) == "0 ms"
    assert event_words.milliseconds(10.0, 10.8564) == "856 ms"


def test_the_ending_reports_only_what_was_seen() -> None:
    """The summary claims no recovery without a new master, and no kept master after a replacement."""
    good = " ".join(event_words.summary(0.9, 0.8, 0.1, recovered=True, kept=True))
    assert "900 ms" in good
    assert "1.12 times" in good
    assert "after 100 ms" in good
    assert "not seen" in " ".join(event_words.summary(0.9, 0.8, 0.1, recovered=False, kept=True))
    assert "should have been kept" in " ".join(event_words.summary(0.9, 0.8, 0.1, recovered=True, kept=False))
    assert "answered again 3.0 s" in event_words.about_plain(3.0, True, "")
    assert event_words.about_plain(9.0, False, "Master running").endswith("Master running")


@pytest.mark.parametrize(("silent_s", "answered"), [(0.0, False), (0.9, True), (3.0, False), (99.0, False)])
def test_a_lane_never_leaves_its_columns(silent_s: float, answered: bool) -> None:
    """A lane fits its columns from the first moment to far beyond the scale, in a wide and in a narrow terminal."""
    lane = Lane("trayagent", silent_s, answered)
    for columns in (80, 60):
        assert lane.line(6.0, columns).cell_len <= columns
    assert lane.line(6.0, 80).plain.count("━") <= lane.line(6.0, 80).cell_len


def test_lanes_share_one_scale() -> None:
    """Lanes have the same scale: twice the silence gives a bar of twice the length."""
    shapes = [Lane("x", s, answered=True).line(6.0, 80).plain.count("━") for s in (1.5, 3.0, 6.0)]
    assert shapes[1] == pytest.approx(2 * shapes[0], abs=1)
    assert shapes[2] == pytest.approx(2 * shapes[1], abs=1)


def test_colours_in_a_file_do_not_make_it_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_COLOR gives colours in a file, but no line is repainted there."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    paper = for_stdout()
    assert paper._live is None
    assert paper._console.is_terminal


def test_without_utf8_the_shapes_are_plain() -> None:
    """Without UTF-8, no character is lost or becomes a question mark."""
    raw = io.BytesIO()
    paper = Screen(Console(file=io.TextIOWrapper(raw, "ascii"), width=80), moving=False)
    paper.heading("From home to the café")
    paper.lines([Text("━━▶ 3.0 s")])
    paper._console.file.flush()
    assert raw.getvalue().decode().split("\n")[1:4] == ["From home to the cafe", "", "==> 3.0 s"]


def test_the_demo_does_not_need_the_tools_of_other_tests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine with only ssh, sshd, ip, nft and nsenter can play the demo, without NetworkManager or OpenVPN."""
    for name in ("ssh", "ssh-keygen", "sshd", "ip", "nft", "nsenter"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setattr("trayagent.sandbox.demo.stage.search_path", lambda: str(tmp_path))
    stage.check_machine()
