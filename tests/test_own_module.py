"""What the program starts of itself is itself, wherever it is started."""

from __future__ import annotations

import subprocess
from pathlib import Path

from trayagent import __version__
from trayagent.own_module import own_module

PACKAGE = Path(__file__).parent.parent / "trayagent"


def test_a_folder_of_the_same_name_is_not_run(tmp_path: Path) -> None:
    """A clone or an unpacked archive, in the folder where it starts."""
    (tmp_path / "trayagent").mkdir()
    (tmp_path / "trayagent/__init__.py").touch()
    (tmp_path / "trayagent/__main__.py").write_text("print('somebody else')")
    words = own_module("trayagent", "--version")
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == f"trayagent {__version__}\n"


def test_nothing_starts_a_module_in_another_way() -> None:
    """One place knows what keeps such a folder out."""
    assert [path.name for path in PACKAGE.rglob("*.py") if '"-m", ' in path.read_text()] == ["own_module.py"]
