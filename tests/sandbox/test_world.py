"""What a node sees instead of the machine's files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from trayagent.errors import TrayagentError
from trayagent.sandbox import UNAVAILABLE
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
