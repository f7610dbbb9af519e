"""`trayagent run` prints the right text in a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trayagent import __version__
from trayagent.agent.terminal_output_of_run import Needs


def run(tmp_path: Path, *words: str, terminal: bool) -> tuple[str, str]:
    """Run the agent until its log says that it runs; return stderr and the log."""
    (tmp_path / "config.toml").write_text('[agent]\nadopt = false\n[hosts.web01]\nconnect = "never"\n')
    (tmp_path / "config.toml").chmod(0o600)
    env = {
        **os.environ,
        "TRAYAGENT_CONFIG": str(tmp_path / "config.toml"),
        "TRAYAGENT_RUNTIME_DIR": str(tmp_path / "run"),
        "TRAYAGENT_STATE_DIR": str(tmp_path / "state"),
        "PYTHONUTF8": "1",
    }
    master, slave = pty.openpty() if terminal else os.pipe()
    own = [sys.executable, "-m", "trayagent"]
    child = subprocess.Popen(
        [*own, "run", "--no-tray", *words], env=env, stderr=slave, stdin=subprocess.DEVNULL
    )
    os.close(slave)
    try:
        limit = time.monotonic() + 20
        while subprocess.run([*own, "status"], env=env, capture_output=True, check=False).returncode:
            assert time.monotonic() < limit
            assert child.poll() is None
        subprocess.run([*own, "pause", "web01"], env=env, capture_output=True, check=True)
    finally:
        child.terminate()
        child.wait(20)
    shown = b""
    try:
        while data := os.read(master, 4096):
            shown += data
    except OSError:  # EIO: the agent has closed the pty
        pass
    os.close(master)
    return shown.decode(), (tmp_path / "state" / "agent.log").read_text()


@pytest.mark.parametrize(("words", "terminal"), [((), True), (("--verbose",), True), ((), False)])
def test_a_terminal_gets_a_greeting_or_the_log(
    tmp_path: Path, words: tuple[str, ...], terminal: bool
) -> None:
    """A terminal gets one line, or the log with --verbose. A service gets no output. The log file has all messages."""
    shown, log = run(tmp_path, *words, terminal=terminal)
    assert "paused web01" in log
    if not terminal:
        assert shown == ""
    elif words:
        assert "paused web01" in shown
        assert "manages" not in shown
    else:
        assert shown.startswith(f"trayagent {__version__} manages 1 host ")
        assert len(shown.splitlines()) == 1


def test_a_vpn_that_needs_the_user_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A VPN that needs the user is printed, although its event has no host."""
    Needs()({"event": "sign-in-needed", "host": None, "reason": "vpn=corp", "vpn": "corp"})
    assert capsys.readouterr().err == "VPN corp needs you to sign in (trayagent status)\n"


def test_what_a_host_needs_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A problem that is retried is not printed, and after a connection a new problem may be printed again."""
    hear = Needs()
    failed = {"event": "connect-failed", "host": "web", "reason": "web refused\x1b the login"}
    hear({**failed, "retry_in_s": 2.0})
    hear({**failed, "missed": False})  # for example a login to a mistyped name, which printed this itself
    assert capsys.readouterr().err == ""
    hear(failed)
    hear({**failed, "event": "sign-in-needed"})
    line = "web needs you: web refused\N{REPLACEMENT CHARACTER} the login (trayagent status web)\n"
    assert capsys.readouterr().err == line
    hear({"event": "connected", "host": "web", "reason": ""})
    hear(failed)
    assert capsys.readouterr().err == line
