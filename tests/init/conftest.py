"""Fixtures: a laptop whose user has a separate home directory, and `trayagent init` on it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab.matrix import laboratory
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.agent import SOURCE

MACHINES = Path(__file__).parent / "machines"
# ssh also uses this home directory (from the password database), so it does not read the real user's files. The
# laboratory has no cron: this program replaces crontab and prints the file ~/crontab.
CRONTAB = "#!/bin/sh\nexec cat ~/crontab\n"

Init = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def desk() -> Iterator[Lab]:
    """Build one laptop for all tests of a worker."""
    with laboratory() as made:
        yield made


@pytest.fixture
def home(desk: Lab) -> Iterator[Path]:
    """Empty the laptop's home directory."""
    place = desk.files.home
    kept = place.rename(place.with_name("home-kept"))
    place.mkdir(mode=0o700)
    (place / "bin").mkdir()
    (place / "bin" / "crontab").write_text(CRONTAB)
    (place / "bin" / "crontab").chmod(0o755)
    yield place
    shutil.rmtree(place)
    kept.rename(place)


@pytest.fixture
def env(home: Path, desk: Lab) -> Mapping[str, str]:
    """Return the environment of the laptop's user."""
    return {"PYTHONPATH": str(SOURCE), "PATH": f"{home / 'bin'}:{desk.laptop.env['PATH']}"}


@pytest.fixture
def init(desk: Lab, env: Mapping[str, str]) -> Init:
    """Return a function that runs `trayagent init` on the laptop, without a terminal."""

    def run(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
        return desk.laptop.run(Agent.command("init", *args), env={**env, **more})

    return run


def furnish(home: Path, name: str) -> None:
    """Copy a recorded machine's files into the home directory."""
    shutil.copytree(MACHINES / name, home, symlinks=True, dirs_exist_ok=True)
    for path in home.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o022)  # ssh refuses files that a loose umask left open
    anybodys = home / "tunnels/anybodys"
    if anybodys.parent.exists():
        anybodys.touch()
        anybodys.chmod(0o666)
