"""What a node sees instead of the machine's files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from trayagent.errors import TrayagentError
from trayagent.sandbox import UNAVAILABLE, Agent, Lab
from trayagent.sandbox.world import World

pytestmark = pytest.mark.lab


def test_a_file_that_the_machine_lacks_has_a_place_all_the_same() -> None:
    """A bare Debian has no /etc/hosts to cover: an empty one is seen beside the others, and covered."""
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    machine, besides, own = folder / "machine", folder / "besides", folder / "own"

    def prepare() -> None:
        for place in (machine, besides):
            place.mkdir()
            (place / "there").write_text(f"{place.name}\n")
        (besides / "lacking").touch()
        own.write_text("own\n")

    steps = [["besides", str(besides), str(machine)], ["bind", str(own), str(machine / "lacking")]]
    try:
        world = World(folder, prepare, {"laptop": {}}, {"laptop": steps})
    except TrayagentError as error:
        if error.code in UNAVAILABLE and not os.environ.get("CI"):
            pytest.skip(str(error))
        raise
    try:
        words = [*world.enter("laptop", "laptop", admin=False), "cat"]
        files = [str(machine / name) for name in ("there", "lacking")]
        seen = subprocess.run([*words, *files], capture_output=True, encoding="utf-8", check=False)
        if "overlay" not in Path("/proc/filesystems").read_text().split():
            pytest.skip("this kernel has no overlayfs")
        assert (seen.stdout, seen.stderr) == ("machine\nown\n", "")
        assert not (machine / "lacking").exists()
    finally:
        world.close()
    assert not folder.exists()


def test_the_laptop_may_have_another_ssh(tmp_path: Path) -> None:
    """A given ssh program is the one that the laptop's user and the agent run."""
    other = tmp_path / "ssh"
    other.write_text("#!/bin/sh\necho other\n")
    other.chmod(0o755)
    try:
        lab = Lab(ssh=str(other))
    except TrayagentError as error:
        if error.code in UNAVAILABLE and not os.environ.get("CI"):
            pytest.skip(str(error))
        raise
    with lab:
        assert lab.laptop.run(["ssh"]).stdout == "other\n"
        assert Agent(lab).env["TRAYAGENT_SSH"] == str(other)
