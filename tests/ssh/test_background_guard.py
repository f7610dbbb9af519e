"""The environment that stops programs from opening a window during a background login."""

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
def test_a_browser_call_is_recorded_and_opens_nothing(tmp_path: Path, command: str) -> None:
    """A call of any browser command is recorded and reports success, so that the caller tries no other."""
    called = tmp_path / "called"
    environment = Openers(tmp_path / "openers").caught(DESK, called)
    assert not {"DISPLAY", "WAYLAND_DISPLAY", "XDG_CURRENT_DESKTOP"} & environment.keys()
    done = subprocess.run(["sh", "-c", command], env=environment, timeout=30, check=False)
    assert done.returncode == 0
    assert called.exists()


def test_other_subcommands_of_gio_work(tmp_path: Path) -> None:
    """The other subcommands of gio still work."""
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


def test_a_proxy_command_keeps_its_stderr_and_the_users_shell(tmp_path: Path) -> None:
    """The stderr of a ProxyCommand is kept, and it runs in the user's shell; a `Match exec` is left alone."""
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


def test_the_shell_is_unchanged_on_a_noexec_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the runtime directory is mounted noexec, SHELL is unchanged, so that logins still work."""
    monkeypatch.setattr("trayagent.ssh.login.background_guard.os.access", lambda _path, _mode: False)
    environment = {**DESK, "SHELL": "/bin/bash"}
    assert Openers(tmp_path / "openers").heard(environment, tmp_path / "log") == environment
