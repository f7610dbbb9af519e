"""The atomic swap of two files."""

from __future__ import annotations

from pathlib import Path

import pytest

from trayagent.ssh.os.swap_files import exchange, rename_new


def test_two_files_are_swapped(tmp_path: Path) -> None:
    """`exchange` swaps two files."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("one")
    other.write_text("other")
    if not exchange(str(one), str(other)):
        pytest.skip("this file system swaps nothing")
    assert (one.read_text(), other.read_text()) == ("other", "one")
    with pytest.raises(FileNotFoundError):
        exchange(str(one), str(tmp_path / "none"))


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    """`rename_new` replaces no existing file."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("one")
    if not rename_new(str(one), str(other)):
        pytest.skip("this file system cannot")
    one.write_text("another")
    with pytest.raises(FileExistsError):
        rename_new(str(one), str(other))
    assert other.read_text() == "one"


def test_a_swap_between_file_systems_returns_false(tmp_path: Path) -> None:
    """Between two file systems `exchange` returns False and changes nothing."""
    elsewhere = Path("/dev/shm")  # noqa: S108 - another file system
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one file system")
    one, other = tmp_path / "one", elsewhere / f"ta-{tmp_path.name}"
    one.touch()
    other.touch()
    try:
        assert not exchange(str(one), str(other))
        assert one.exists()
        assert other.exists()
    finally:
        other.unlink()
