from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def shell_scripts() -> list[Path]:
    """Return the shell scripts of the project."""
    folders = ("installers", ".ci", "tests/other_desktops")
    files = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return sorted(
        path for path in files if path.read_bytes()[:20].split(b"\n")[0].endswith((b"/sh", b" bash"))
    )


def test_shellcheck_reports_nothing() -> None:
    """Shellcheck accepts every script, with all checks."""
    if shutil.which("shellcheck") is None:
        assert not os.environ.get("CI"), "shellcheck is missing"
        pytest.skip("shellcheck is not installed")
    scripts = [*shell_scripts(), ROOT / "installers/completions/trayagent.bash"]
    assert ROOT / "installers/lab-tools" in scripts
    done = subprocess.run(
        ["shellcheck", "--external-sources", *scripts], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", shell_scripts(), ids=lambda path: path.name)
def test_each_script_can_be_run(script: Path) -> None:
    """Each script is executable."""
    assert os.access(script, os.X_OK)


def test_the_python_of_prerm_runs(tmp_path: Path) -> None:
    """The Python code of prerm runs, so its imports are correct. Without a user manager it prints no text."""
    [code] = re.findall(r"'(from trayagent[^']*)'", (ROOT / "installers/linux/prerm").read_text())
    env = os.environ | {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
