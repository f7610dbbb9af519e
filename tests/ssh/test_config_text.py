"""What the text of ssh_config tells before any name is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.ssh import config_text
from trayagent.ssh.config_text import aliases, config_files, control_paths, place_dependent


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a home with an empty ~/.ssh/config."""
    monkeypatch.setattr(config_text, "home", lambda: tmp_path)
    path = tmp_path / ".ssh" / "config"
    path.parent.mkdir()
    path.touch()
    return path


def test_aliases_are_the_literal_names(root: Path) -> None:
    """Wildcards and negations are patterns, not names; comments and case do not matter."""
    root.write_text(
        '# Host no\nHost web01 db *.lan !bad w?b # comment\nHOST = "my box"\nhost web01\nMatch host m\n'
    )
    assert aliases(root) == ("web01", "db", "my box")


@pytest.mark.parametrize(
    ("text", "varies"),
    [
        ("Host a\n User b", False),
        ('Match exec "true"', True),
        ("Match host a !exec x", True),
        ("match localnetwork 10.0.0.0/8", True),
        ("Match exec=true", True),
        ("Match host exec-server", False),
        ("# Match exec true", False),
        ("ControlPath ~/.ssh/%l-%h", True),
        ("ControlPath ~/.ssh/%L", True),
        ("ControlPath ~/.ssh/%%l", False),
        ("ControlPath ~/.ssh/%%%l", True),
        ("CanonicalizeHostname yes", True),
        ("CanonicalizeHostname always", True),
        ("CanonicalizeHostname no", False),
    ],
)
def test_what_may_vary_with_the_place_is_seen(root: Path, text: str, varies: bool) -> None:
    """Match exec and localnetwork, this machine's name, and canonical names depend on the network."""
    root.write_text(text)
    assert place_dependent((root,)) is varies


def test_what_an_included_file_says_counts(root: Path) -> None:
    """Aliases, control paths and variation come from Includes too, and from any of several roots."""
    root.write_text("Include more\nControlPath ~/.ssh/cm-%C\n")
    (root.parent / "more").write_text(
        "Host inside\n ControlPath none\n ControlPath ~/.ssh/cm-%C\n Match exec x\n"
    )
    assert aliases(root) == ("inside",)
    assert control_paths(root) == ("~/.ssh/cm-%C", "none")
    assert place_dependent((root.parent / "absent", root))


def test_includes_are_found_as_ssh_finds_them(root: Path) -> None:
    """Relative to ~/.ssh even from an -F file elsewhere, with ~, absolute, and by glob in order."""
    home = root.parent.parent
    folder = root.parent / "config.d"
    folder.mkdir()
    for name in ("b", "a", "skip.bak"):
        (folder / name).touch()
    other = home / "elsewhere"
    other.write_text(f'Include config.d/[ab] ~/tilde "{home}/with space"\n')
    expected = (other, folder / "a", folder / "b", home / "tilde", home / "with space")
    assert config_files(other) == expected


def test_the_systems_file_includes_from_its_own_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What /etc/ssh/ssh_config includes stands in /etc/ssh, not in the user's folder."""
    system = root.parent.parent / "etc"
    monkeypatch.setattr(config_text, "SYSTEM", system)
    system.mkdir()
    (system / "ssh_config").write_text("Include more\n")
    assert config_files(system / "ssh_config") == (system / "ssh_config", system / "more")


def test_an_absent_file_is_named_so_that_it_can_be_watched(root: Path) -> None:
    """A file that does not exist yet may appear."""
    root.write_text("Include absent\n")
    assert config_files(root) == (root, root.parent / "absent")
    assert config_files(root.parent / "none") == (root.parent / "none",)


def test_loops_end(root: Path) -> None:
    """A file that includes itself, or its includer, is read once."""
    root.write_text("Include config second\n")
    (root.parent / "second").write_text("Include config second\nHost a\n")
    assert config_files(root) == (root, root.parent / "second")
    assert aliases(root) == ("a",)


def test_a_flood_is_bounded(root: Path) -> None:
    """Neither many files, nor deep ones, nor a huge one take more than their bound."""
    for number in range(config_text.MAX_FILES + 50):
        (root.parent / f"f{number:04}").touch()
    root.write_text("Include f*\n")
    assert len(config_files(root)) == config_text.MAX_FILES
    for number in range(config_text.MAX_DEPTH + 5):
        (root.parent / f"d{number}").write_text(f"Include d{number + 1}\n")
    assert len(config_files(root.parent / "d0")) == config_text.MAX_DEPTH + 1
    root.write_text("Host first\n" + "#" * config_text.MAX_FILE + "\nHost last\n")
    assert aliases(root) == ("first",)


def test_what_cannot_be_read_is_passed_over(root: Path) -> None:
    """A folder, a FIFO and a loop of links stop nothing and block nothing."""
    (root.parent / "folder").mkdir()
    os.mkfifo(root.parent / "fifo")
    (root.parent / "link").symlink_to(root.parent / "link")
    root.write_text("Include folder fifo link ${HOME}/x a\0b\nHost after\n")
    assert aliases(root) == ("after",)
    assert config_files(root) == (root, *(root.parent / name for name in ("folder", "fifo", "link")))


def test_an_open_quote_is_no_error_here(root: Path) -> None:
    """Ssh refuses such a file and says so itself."""
    root.write_text('Host "open\nHost fine\n')
    assert "fine" in aliases(root)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_exception(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """Whatever the file holds, reading it raises nothing (Includes in it are of random names)."""
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    assert config_files(path)[0] == path
    aliases(path)
    control_paths(path)
    place_dependent((path,))
