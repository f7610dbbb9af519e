"""The aliases that may own the control path of an unnamed master, so that `ssh -G` must run for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trayagent.ssh import ssh_config_text
from trayagent.ssh.aliases_of_control_path import may_own

HASH = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a separate home directory."""
    monkeypatch.setattr(ssh_config_text, "home", lambda: tmp_path)
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def own(home: Path, text: str, path: str, alias: str = "web") -> bool:
    """Report whether the alias may own a path with this ssh_config."""
    file = home / ".ssh" / "config"
    file.write_text(text)
    return may_own((file,), alias, path.replace("~", str(home)))


@pytest.mark.parametrize(
    ("text", "path", "may"),
    [
        ("ControlPath ~/.ssh/cm-%C", f"~/.ssh/cm-{HASH}", True),
        ("ControlPath ~/.ssh/cm-%C", "~/.ansible/cp/0a1b2c", False),
        ("ControlPath ~/.ssh/cm-%C", "~/.ssh/cm-web", False),
        ("ControlPath ~/.ssh/cm-%n", "~/.ssh/cm-web", True),
        ("ControlPath ~/.ssh/cm-%n", "~/.ssh/cm-db", False),
        ("ControlPath ~/.ssh/%r@%h:%p", "~/.ssh/me@web.example.net:22", True),
        ("ControlPath ~/.ssh/%r@%h:%p", "~/.ssh/me@web.example.net:ssh", False),
        ("ControlPath ~/.ssh/100%%-%n", "~/.ssh/100%-web", True),
        ("ControlPath ${XDG_RUNTIME_DIR}/cm", "/run/user/1000/cm", True),
        ("ControlPath ~/.ssh/cm.%n", "~/.ssh/cmxweb", False),
        ("ControlPath none", "none", False),
        ("Host a b\n User me", "~/.ssh/cm", False),
        ("Host web\n ControlPath ~/.ssh/cm", "~/.ssh/cm", True),
        ("Host db\n ControlPath ~/.ssh/cm", "~/.ssh/cm", False),
        ("Host w*\n ControlPath ~/.ssh/cm", "~/.ssh/cm", True),
        ("Host * !web\n ControlPath ~/.ssh/cm", "~/.ssh/cm", False),
        ("Match originalhost db\n ControlPath ~/.ssh/cm", "~/.ssh/cm", False),
        ("Match originalhost db,web\n ControlPath ~/.ssh/cm", "~/.ssh/cm", True),
        ('Match exec "false"\n ControlPath ~/.ssh/cm', "~/.ssh/cm", True),
        ("Match host db\n ControlPath ~/.ssh/cm", "~/.ssh/cm", True),
        ("Host db\n User me\nHost *\n ControlPath ~/.ssh/cm", "~/.ssh/cm", True),
    ],
)
def test_only_the_text_can_exclude_an_alias(home: Path, text: str, path: str, may: bool) -> None:
    """Only Host lines, literal parts and tokens with a known format exclude an alias.

    Otherwise the alias is possible.
    """
    assert own(home, text, path) is may


def test_an_included_file_counts(home: Path) -> None:
    """An included file may apply to any alias, whichever block includes it."""
    (home / ".ssh" / "more").write_text("ControlPath ~/.ssh/cm\nHost db\n ControlPath ~/.ssh/other\n")
    assert own(home, "Host db\n Include more\n", "~/.ssh/cm")
    assert not own(home, "Host db\n Include more\n", "~/.ssh/other")
