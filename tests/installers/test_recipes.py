"""The recipes for other systems agree with pyproject.toml, and say what was tried."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from trayagent import __version__

ROOT = Path(__file__).parents[2]
RECIPES = [path for path in sorted((ROOT / "installers" / "recipes").glob("*/*")) if path.is_file()]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
REQUIREMENTS = tomllib.loads(PYPROJECT)["project"]["dependencies"]
DEPENDENCIES = {re.split("==|;", word)[0] for word in REQUIREMENTS if "darwin" not in word}

every_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
with_own_dependencies = pytest.mark.parametrize(
    "path", [path for path in RECIPES if path.suffix != ".rb"], ids=lambda path: path.name
)


@every_recipe
def test_the_first_line_says_what_was_tried(path: Path) -> None:
    """The first line names what was tried and what was not, and the index lists the file."""
    first = path.read_text(encoding="utf-8").split("\n")[0]
    assert re.match(r"# Tried: .*\. Not tried: .*\.$", first)
    index = (ROOT / "installers" / "recipes" / "README.md").read_text(encoding="utf-8")
    assert f"`{path.relative_to(ROOT)}`" in index


@with_own_dependencies
def test_the_recipe_has_the_version_and_the_dependencies(path: Path) -> None:
    """The recipe has this version, and each dependency that Linux needs."""
    text = path.read_text(encoding="utf-8")
    assert re.search(rf"(pkgver=|Version: +|version = \"){re.escape(__version__)}\b", text)
    for name in DEPENDENCIES - {"netifaces-plus", "pystray"}:
        assert re.search(rf"\b(python3?-)?{re.escape(name)}\b", text), name


@with_own_dependencies
def test_the_recipe_removes_every_pin(path: Path, tmp_path: Path) -> None:
    """The sed command leaves every dependency without a version, and drops those that Linux does not need."""
    [script] = re.findall(r"sed -i -E '(.*)' pyproject\.toml", path.read_text(encoding="utf-8"))
    copy = tmp_path / "pyproject.toml"
    copy.write_text(PYPROJECT, encoding="utf-8")
    subprocess.run(["sed", "-i", "-E", script, str(copy)], check=True)
    left = tomllib.loads(copy.read_text(encoding="utf-8"))["project"]["dependencies"]
    assert not [word for word in left if "==" in word.partition(";")[0]]
    assert {re.split("==|;", word)[0] for word in left} >= DEPENDENCIES - {"netifaces-plus", "pystray"}
    assert not [word for word in left if word.startswith("netifaces")]
