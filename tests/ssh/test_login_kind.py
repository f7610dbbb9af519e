from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trayagent.core.facts.hosts import LoginKind
from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.login.login_kind import login_kind
from trayagent.ssh.master.master_command_line import master_command

TO = "Authenticated to 203.0.113.10 ([203.0.113.10]:22) using"
PARTLY = 'Authenticated using "{}" with partial success.\r\n'
SK = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAAA== token"


def resolved(*files: Path) -> Resolved:
    """Return a host with these keys and without an ssh-agent."""
    return Resolved("web", "web", identity_files=tuple(map(str, files)), identity_agent="none")


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        (f'{TO} "password".\r\n', "typed"),
        (f'{TO} "keyboard-interactive".\r\n', "typed"),
        ('Authenticated to web (via proxy) using "password".\r\n', "typed"),
        (PARTLY.format("publickey") + f'{TO} "keyboard-interactive".\r\n', "typed"),
        (PARTLY.format("keyboard-interactive") + f'{TO} "publickey".\r\n', "typed"),
        (f'{TO} "gssapi-with-mic".\r\n', "quiet"),
        (f'{TO} "publickey".\r\n', "quiet"),
        ("", "quiet"),
    ],
)
def test_the_logged_methods_show_whether_the_user_typed(log: str, kind: LoginKind, tmp_path: Path) -> None:
    """The logged methods show whether the user typed something, in any order, directly or through a proxy."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    assert login_kind(log, resolved(key), {}, at_terminal=True) == kind


def test_a_locked_key_was_unlocked_by_the_user_at_a_terminal(tmp_path: Path) -> None:
    """A locked key was unlocked by the user only if there was a terminal for the passphrase."""
    key, log = tmp_path / "key", f'{TO} "publickey".\r\n'
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)], check=True)
    assert login_kind(log, resolved(key), {}, at_terminal=True) == "unlocked"
    assert login_kind(log, resolved(key), {}, at_terminal=False) == "quiet"


def test_a_security_key_was_touched(tmp_path: Path) -> None:
    """A login with a security key needed a touch, at a terminal or without one."""
    key, log = tmp_path / "key", f'{TO} "publickey".\r\n'
    key.write_text("the handle of a token")
    key.with_name("key.pub").write_text(SK)
    assert login_kind(log, resolved(key), {}, at_terminal=True) == "touched"
    assert login_kind(log, resolved(key), {}, at_terminal=False) == "touched"


def test_a_login_at_a_terminal_prompts_and_goes_to_the_background() -> None:
    """The command line of a login at a terminal prompts, logs and goes to the background, and is otherwise the same."""
    words = master_command("web", resolved(), "/cm/web", background=False, log="/run/log", at_terminal=True)
    assert words[words.index("-E") + 1] == "/run/log"
    assert {"BatchMode=no", "ForkAfterAuthentication=yes", "ControlPersist=no"} <= set(words)
    assert {"ClearAllForwardings=yes", "LogLevel=VERBOSE", "PermitLocalCommand=no"} <= set(words)
