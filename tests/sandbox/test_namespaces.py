"""The files that a node sees instead of the machine's files."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from trayagent.errors import TrayagentError
from trayagent.sandbox import UNAVAILABLE, Agent, Lab
from trayagent.sandbox.namespaces import World

pytestmark = pytest.mark.lab


def test_a_file_that_the_machine_lacks_is_created_and_covered() -> None:
    """A file that the machine lacks (a bare Debian has no /etc/hosts) is created empty, and covered."""
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    machine, extra, own = folder / "machine", folder / "extra", folder / "own"

    def prepare() -> None:
        for place in (machine, extra):
            place.mkdir()
            (place / "there").write_text(f"{place.name}\n")
        (extra / "lacking").touch()
        own.write_text("own\n")

    steps = [["overlay", str(extra), str(machine)], ["bind", str(own), str(machine / "lacking")]]
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
    """The laptop's user and the agent run a given ssh program."""
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


def test_a_lost_cover_ends_everything_before_the_real_file_is_read() -> None:
    """If a program such as useradd replaces a covered file, every process is ended, and no new process can start."""
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    machine, own = folder / "machine", folder / "own"

    def prepare() -> None:
        machine.write_text("machine\n")
        own.write_text("own\n")

    try:
        world = World(folder, prepare, {"laptop": {}}, {"laptop": [["bind", str(own), str(machine)]]})
    except TrayagentError as error:
        if error.code in UNAVAILABLE and not os.environ.get("CI"):
            pytest.skip(str(error))
        raise
    try:
        words = world.enter("laptop", "laptop", admin=False)
        assert subprocess.run([*words, "cat", machine], capture_output=True, check=True).stdout == b"own\n"
        own.write_text("own, changed in place\n")  # this change does not uncover the file
        world.enter("laptop", "laptop", admin=False)
        running = world.popen([*words, "sleep", "600"])
        until = time.monotonic() + 15
        while running.pid not in world.processes("laptop"):
            assert time.monotonic() < until
            time.sleep(0.005)
        (folder / "new").write_text("new\n")
        (folder / "new").replace(machine)
        with pytest.raises(TrayagentError, match="lost its own") as caught:
            world.enter("laptop", "laptop", admin=False)
        assert caught.value.code == "sandbox-broken"
        assert running.wait(15) == -signal.SIGKILL
        late = subprocess.Popen([*words, "sleep", "600"])  # the process was just entering
        assert late.wait(15) == -signal.SIGKILL
    finally:
        world.close()
    assert not folder.exists()
