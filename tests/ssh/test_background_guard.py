"""What a program finds that wants to open a window during a login in the background."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trayagent.ssh.login.background_guard import Openers

DESK = {
    "PATH": "/usr/bin:/bin",
    "DISPLAY": ":99",
    "WAYLAND_DISPLAY": "wayland-0",
    "BROWSER": "firefox",
    "XDG_CURRENT_DESKTOP": "GNOME",
    "HOME": "/nonexistent",
}
PAGE = "https://login.example.net/"


@pytest.mark.parametrize(
    "command",
    [
        f"xdg-open {PAGE}",
        f"open {PAGE}",
        f"gio open {PAGE}",
        f"x-www-browser {PAGE}",
        f"exec $BROWSER {PAGE}",
        f"{sys.executable} -m webbrowser {PAGE}",
    ],
)
def test_a_browser_is_noticed_and_not_opened(tmp_path: Path, command: str) -> None:
    """However it is called; the caller believes that it opened, and tries no other."""
    called = tmp_path / "called"
    environment = Openers(tmp_path / "openers").caught(DESK, called)
    assert not {"DISPLAY", "WAYLAND_DISPLAY", "XDG_CURRENT_DESKTOP"} & environment.keys()
    done = subprocess.run(["sh", "-c", command], env=environment, timeout=30, check=False)
    assert done.returncode == 0
    assert called.exists()


def test_other_work_of_gio_is_done(tmp_path: Path) -> None:
    """It opens pages, and does much else."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "gio").write_text('#!/bin/sh\necho "real $*"\n')
    (tools / "gio").chmod(0o755)
    called = tmp_path / "called"
    environment = Openers(tmp_path / "openers").caught({**DESK, "PATH": f"{tools}:/usr/bin:/bin"}, called)
    done = subprocess.run(
        ["sh", "-c", "gio info x"], env=environment, timeout=30, check=False, capture_output=True, text=True
    )
    assert done.stdout == "real info x\n"
    assert not called.exists()


def test_what_a_proxy_command_says_is_kept_and_its_shell_is_the_users(tmp_path: Path) -> None:
    """Ssh runs it with $SHELL, its input a pipe; a `Match exec` has none, and is left alone."""
    log = tmp_path / "log"
    environment = Openers(tmp_path / "openers").heard({**DESK, "SHELL": "/bin/bash"}, log)
    words = [environment["SHELL"], "-c", "echo no token >&2; echo $SHELL $BASH"]
    done = subprocess.run(
        words, env=environment, timeout=30, check=False, input="", capture_output=True, text=True
    )
    assert done.stdout.startswith("/bin/bash /")
    assert log.read_text() == "no token\n"
    subprocess.run(words, env=environment, timeout=30, check=False, stdin=subprocess.DEVNULL)
    assert log.read_text() == "no token\n"


def test_where_no_program_may_run_the_shell_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime folder on a file system without execution must stop no login."""
    monkeypatch.setattr("trayagent.ssh.login.background_guard.os.access", lambda _path, _mode: False)
    environment = {**DESK, "SHELL": "/bin/bash"}
    assert Openers(tmp_path / "openers").heard(environment, tmp_path / "log") == environment
