"""The participants in the roaming demo: the agent with a host that roams, and two copies of the same rsync."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from trayagent.errors import TrayagentError
from trayagent.sandbox import network_map as plan
from trayagent.sandbox.demo.stage import CONFIG, HOST, Stage
from trayagent.sandbox.lab_tools import how_to_install, search_path
from trayagent.sandbox.ssh_config_of_laptop import Options

FILE = "holiday.raw"
SIZE = 3_000_000
KIB_S = 600
"""The rate limit of each rsync, so low that a transfer takes longer than both moves."""
_POLL_S = 0.02


class Copy:
    """One rsync that fetches the file; a context manager that ends it."""

    def __init__(self, stage: RoamingStage, name: str, ssh: str) -> None:
        self.name = name
        self.path = stage.lab.files.home / name
        words = ["rsync", "--inplace", f"--bwlimit={KIB_S}", "-e", ssh, f"{HOST}:{FILE}", str(self.path)]
        self._child = stage.lab.laptop.popen(words)

    @property
    def share(self) -> float:
        """How much of the file has arrived, from 0 to 1."""
        return self.path.stat().st_size / SIZE if self.path.exists() else 0.0

    @property
    def status(self) -> int | None:
        """The exit status of rsync, None while it runs."""
        return self._child.poll()

    def is_whole(self, wanted: str) -> bool:
        """Report whether rsync succeeded and the file has this hash."""
        return self.status == 0 and _hash(self.path) == wanted

    def end(self) -> None:
        """End rsync if it still runs."""
        self._child.kill()
        self._child.wait()


class RoamingStage(Stage):
    """The participants of the roaming demo."""

    config = f"{CONFIG}roam = true\n"
    hosts: Mapping[str, Options] = {HOST: {"HostName": plan.SERVER, "ControlPath": "~/.ssh/cm-%n"}}

    def __init__(self, rtt_ms: float) -> None:
        if shutil.which("rsync", path=search_path()) is None:
            raise TrayagentError(
                "the demo needs `rsync`, which this machine lacks",
                code="tool-missing",
                hint=f"Install it: {how_to_install('rsync')}",
            )
        super().__init__(rtt_ms)

    def start_agent(self) -> None:
        """Start the agent, and return when the host roams."""
        super().start_agent()
        limit = time.monotonic() + self.deadline_s
        while not (self._roaming() or {}).get("attached"):
            if time.monotonic() > limit:
                raise self.failure("the host does not roam")
            time.sleep(_POLL_S)
        self.events.drain()  # the first act must not print the events of the start

    def make_file(self) -> str:
        """Write the file on the server; return its hash."""
        path = self.lab.files.far_home / FILE
        path.write_bytes(os.urandom(SIZE))
        return _hash(path)

    def start_copies(self) -> tuple[Copy, Copy]:
        """Start two rsyncs: one through the agent's connection, and one with its own ssh."""
        ssh = self.lab.ssh
        copies = Copy(self, "trayagent", ssh), Copy(self, "plain-ssh", f"{ssh} -S none")
        for copy in copies:
            self._ends.callback(copy.end)
        return copies

    def inner_pid(self) -> int | None:
        """Return the pid of the inner master, or None if the host does not roam."""
        pid: int | None = (self._roaming() or {}).get("pid")
        return pid

    def _roaming(self) -> dict[str, int] | None:
        found: dict[str, int] | None = (self.agent.host(HOST) or {}).get("roaming")
        return found


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
