"""The program can start itself from any directory, and never runs another module of the same name."""

from __future__ import annotations

import subprocess
from pathlib import Path

from trayagent import __version__
from trayagent.own_module import own_module

PACKAGE = Path(__file__).parent.parent / "trayagent"


def test_a_directory_of_the_same_name_is_not_run(tmp_path: Path) -> None:
    """A directory named trayagent in the current directory, as in a clone or an unpacked archive, is not run."""
    (tmp_path / "trayagent").mkdir()
    (tmp_path / "trayagent/__init__.py").touch()
    (tmp_path / "trayagent/__main__.py").write_text("print('somebody else')")
    words = own_module("trayagent", "--version")
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == f"trayagent {__version__}\n"


def test_only_own_module_starts_modules() -> None:
    """Only own_module.py starts modules, because it excludes such a directory."""
    assert [path.name for path in PACKAGE.rglob("*.py") if '"-m", ' in path.read_text()] == ["own_module.py"]
