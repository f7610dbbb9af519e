from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from installers.manual.make_manual import manual
from tests.installers.conftest import DAY

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture
def wheel(wheels: Path) -> zipfile.ZipFile:
    """Open the wheel, which was built as pip does for a user."""
    [built] = wheels.glob("trayagent-*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_brings_what_a_program_needs_beside_its_code(wheel: zipfile.ZipFile) -> None:
    share = {name.partition(".data/data/")[2] for name in wheel.namelist() if ".data/data/" in name}
    icons = {path.name for path in (ROOT / "assets" / "icons").iterdir()}
    assert share == {
        "share/man/man1/trayagent.1",
        "share/bash-completion/completions/trayagent",
        "share/zsh/site-functions/_trayagent",
        "share/fish/vendor_completions.d/trayagent.fish",
        "share/applications/trayagent.desktop",
        "share/icons/hicolor/scalable/apps/trayagent.svg",
        *(f"share/icons/hicolor/symbolic/apps/{name}" for name in icons),
    }
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.namelist())


def test_every_file_of_the_package_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "trayagent"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        assert not os.environ.get("CI"), listed.stderr
        pytest.skip("the sources are no clone")
    tracked = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    tracked = {name for name in tracked if not name.endswith(".po")}  # the program reads the compiled .mo
    assert tracked <= set(wheel.namelist())


def test_its_manual_page_is_that_of_the_program_and_has_the_date_of_the_sources(
    wheel: zipfile.ZipFile,
) -> None:
    [page] = [name for name in wheel.namelist() if name.endswith("trayagent.1")]
    assert wheel.read(page).decode() == manual(DAY.date())
