"""Fixtures: the wheels of the project and of all that its installation needs, made once for the whole run."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DAY = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
"""The date of the sources from which the wheel is built."""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheels of the project and of its dependencies. All test workers of one run share it.

    Skip if the package index cannot be reached, but not in CI.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = tmp_path_factory.getbasetemp().parent / f"wheels-{run}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "made"
        if not made.exists():
            _make(folder / "new")
            (folder / "new").rename(made)
    return made / "project"


@pytest.fixture(scope="session")
def offline(wheels: Path) -> Mapping[str, str]:
    """Return the environment with which pip installs the project from these wheels, without the package index."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{wheels} {wheels.with_name('build')}"}


def _make(folder: Path) -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    _pip_wheel(folder / "build", *build)
    _pip_wheel(folder / "project", str(ROOT))


def _pip_wheel(into: Path, *wanted: str) -> None:
    words = [sys.executable, "-m", "pip", "--quiet", "wheel", "--wheel-dir", str(into), *wanted]
    env = os.environ | {"SOURCE_DATE_EPOCH": str(int(DAY.timestamp()))}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if "No matching distribution" in done.stderr and not os.environ.get("CI"):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
