"""The facts that trayagent reads from the text of ssh_config without `ssh -G`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.ssh import ssh_config_text
from trayagent.ssh.ssh_config_text import (
    aliases,
    config_files,
    control_paths,
    host_patterns,
    is_named,
    network_dependent,
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a home directory with an empty ~/.ssh/config."""
    monkeypatch.setattr(ssh_config_text, "home", lambda: tmp_path)
    path = tmp_path / ".ssh" / "config"
    path.parent.mkdir()
    path.touch()
    return path


def test_aliases_are_the_literal_names(root: Path) -> None:
    """`aliases` returns the literal names, without wildcards and negations; comments and case do not matter."""
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
def test_settings_that_depend_on_the_network_are_detected(root: Path, text: str, varies: bool) -> None:
    """Match exec, Match localnetwork, this machine's name and canonical names count as dependent on the network."""
    root.write_text(text)
    assert network_dependent((root,)) is varies


def test_included_files_count(root: Path) -> None:
    """Aliases, control paths and dependence on the network are also read from Includes and from several roots."""
    root.write_text("Include more\nControlPath ~/.ssh/cm-%C\n")
    (root.parent / "more").write_text(
        "Host inside\n ControlPath none\n ControlPath ~/.ssh/cm-%C\n Match exec x\n"
    )
    assert aliases(root) == ("inside",)
    assert control_paths(root) == ("~/.ssh/cm-%C", "none")
    assert network_dependent((root.parent / "absent", root))


def test_includes_are_found_as_ssh_finds_them(root: Path) -> None:
    """Includes are found as by ssh: relative to ~/.ssh even in a file of -F, with ~, absolute, and by sorted glob."""
    home = root.parent.parent
    folder = root.parent / "config.d"
    folder.mkdir()
    for name in ("b", "a", "skip.bak"):
        (folder / name).touch()
    other = home / "elsewhere"
    other.write_text(f'Include config.d/[ab] ~/tilde "{home}/with space"\n')
    expected = (other, folder / "a", folder / "b", home / "tilde", home / "with space")
    assert config_files(other) == expected


def test_the_systems_file_includes_from_its_own_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative Include in /etc/ssh/ssh_config refers to /etc/ssh, not to the user's directory."""
    system = root.parent.parent / "etc"
    monkeypatch.setattr(ssh_config_text, "SYSTEM", system)
    system.mkdir()
    (system / "ssh_config").write_text("Include more\n")
    assert config_files(system / "ssh_config") == (system / "ssh_config", system / "more")


def test_a_missing_file_is_listed_so_that_it_can_be_watched(root: Path) -> None:
    """A missing file is in the list, so that the agent can watch for it."""
    root.write_text("Include absent\n")
    assert config_files(root) == (root, root.parent / "absent")
    assert config_files(root.parent / "none") == (root.parent / "none",)


def test_loops_end(root: Path) -> None:
    """A file that includes itself, or the file that includes it, is read once."""
    root.write_text("Include config second\n")
    (root.parent / "second").write_text("Include config second\nHost a\n")
    assert config_files(root) == (root, root.parent / "second")
    assert aliases(root) == ("a",)


def test_a_flood_is_bounded(root: Path) -> None:
    """Many files, deep Includes and a huge file are read only up to their bounds."""
    for number in range(ssh_config_text.MAX_FILES + 50):
        (root.parent / f"f{number:04}").touch()
    root.write_text("Include f*\n")
    assert len(config_files(root)) == ssh_config_text.MAX_FILES
    for number in range(ssh_config_text.MAX_DEPTH + 5):
        (root.parent / f"d{number}").write_text(f"Include d{number + 1}\n")
    assert len(config_files(root.parent / "d0")) == ssh_config_text.MAX_DEPTH + 1
    root.write_text("Host first\n" + "#" * ssh_config_text.MAX_FILE + "\nHost last\n")
    assert aliases(root) == ("first",)


def test_unreadable_files_are_skipped(root: Path) -> None:
    """A directory, a FIFO and a loop of links are skipped without an error and without blocking."""
    (root.parent / "folder").mkdir()
    os.mkfifo(root.parent / "fifo")
    (root.parent / "link").symlink_to(root.parent / "link")
    root.write_text("Include folder fifo link ${HOME}/x a\0b\nHost after\n")
    assert aliases(root) == ("after",)
    assert config_files(root) == (root, *(root.parent / name for name in ("folder", "fifo", "link")))


def test_an_open_quote_is_no_error_here(root: Path) -> None:
    """A line with an open quote raises no error here; ssh itself rejects the file."""
    root.write_text('Host "open\nHost fine\n')
    assert "fine" in aliases(root)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_exception(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """A file with any bytes is read without an exception, even if it includes random names."""
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    assert config_files(path)[0] == path
    aliases(path)
    control_paths(path)
    network_dependent((path,))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("Host db web01", True),
        ("Host web*", True),
        ("Host web* !web01", False),
        ("Host *", False),
        ("Host * !db", False),
        ("Host db", False),
        ("Match originalhost web01,db exec true", True),
        ("Match exec true host web*", True),
        ("Match all", False),
        ("Match user web01", False),
    ],
)
def test_a_name_is_known_by_blocks_that_are_not_for_every_name(
    tmp_path: Path, line: str, *, named: bool
) -> None:
    """A pattern that every name matches does not make a name known, and a negated one excludes it."""
    root = tmp_path / "config"
    root.write_text(f"{line}\n    User me\n")
    assert is_named(host_patterns([root]), "web01") is named
