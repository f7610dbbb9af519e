"""Decides when the agent scans for masters."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from trayagent.agent.masters.discovery import Discovery
from trayagent.agent.parts import Parts

_SCAN_LATER_S = (0.05, 0.3)  # by then the fork of a ControlPersist master is over; it takes milliseconds
# With a hundred masters a scan takes 30 ms, and during a move each of them makes a new socket. So pause after each scan
# for this many times its own time. Scans then take a fiftieth of the agent's time at most.
_PAUSE = 49


class DiscoverySchedule:
    """Scans for masters, one scan at a time."""

    def __init__(self, parts: Parts, discovery: Discovery) -> None:
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._discovery = discovery
        self._again = False
        self._hosts_known = False

    def start(self) -> None:
        """Allow scans, because all hosts are known now. Before that, a scan cannot match masters to hosts."""
        self._hosts_known = True
        if self._again:
            self.scan()

    def scan(self) -> None:
        """Start a scan. A call during a scan requests one more, because the running one may miss the change."""
        self._again = True
        if self._hosts_known and not self._tasks.running("scan"):
            self._tasks.start("scan", self._keep_scanning())

    def happened(self, event: dict[str, object]) -> None:
        """Scan at every change of network, to find masters on unwatched paths: they must be judged then, too."""
        if event["event"] == "network-changed":
            self.scan()

    def socket_appeared(self, path: Path) -> None:
        """Identify the master of a new socket.

        While a master forks, no pid shows as the listener, so scan again a little later. The agent's own new masters
        need no scan.
        """
        if self._discovery.is_known(path):
            return
        self.scan()
        for later_s in _SCAN_LATER_S:
            asyncio.get_running_loop().call_later(later_s, self._scan_if_unknown, path)

    def _scan_if_unknown(self, path: Path) -> None:
        masters = [h.master for h in self._shell.state.hosts.values() if h.master is not None]
        if path.is_socket() and str(path) not in {m.control_path for m in masters}:
            self.scan()

    async def _keep_scanning(self) -> None:
        while self._again:
            self._again = False
            began = time.process_time()
            await self._discovery.scan()
            await asyncio.sleep(_PAUSE * (time.process_time() - began))
