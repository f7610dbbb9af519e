"""Keeps the forwards of each master as they are wanted; one round at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from trayagent.agent.records import Records
from trayagent.agent.tasks import Tasks
from trayagent.core.actions import EnsureForwards
from trayagent.core.events import Event, ForwardsChanged
from trayagent.core.forward_spec import parse
from trayagent.core.forwards import Forward, ForwardKind
from trayagent.core.hosts import Host, Master
from trayagent.core.state import State
from trayagent.core.view import wanted_forwards
from trayagent.ssh.forwarding import ensure


class Forwarding:
    """Opens and closes forwards through the masters' sockets."""

    def __init__(
        self,
        post: Callable[[Event], None],
        tasks: Tasks,
        records: Records,
        state: Callable[[], State],
        log_of: Callable[[int], Path],
    ) -> None:
        self._post = post
        self._tasks = tasks
        self._records = records
        self._state = state
        self._log_of = log_of
        self._opened: dict[int, tuple[Forward, ...]] = {}
        self._rounds: dict[str, int] = {}
        self._again: set[int] = set()

    def ensure(self, action: EnsureForwards) -> None:
        """Make the forwards those that are wanted now; a call during a round makes another after it.

        A round on an earlier master of the host is given up: it may hang until that one is killed.
        """
        name, pid = action.name, action.master.pid
        earlier = self._rounds.get(name)
        if earlier is not None and earlier != pid:
            self._tasks.cancel(f"forwards {earlier}")
        self._rounds[name] = pid
        if self._tasks.running(f"forwards {pid}"):
            self._again.add(pid)
            return
        self._tasks.start(f"forwards {pid}", self._ensure(name, pid))

    async def _ensure(self, name: str, pid: int) -> None:
        while True:
            self._again.discard(pid)
            host = self._state().hosts.get(name)
            if host is None or host.master is None or host.master.pid != pid:
                return
            await self._round(host, host.master)
            if pid not in self._again:
                return

    async def _round(self, host: Host, master: Master) -> None:
        wanted = _wanted(host, master)
        opened = self._already(master)
        log = self._log_of(master.pid)
        results = await ensure(
            master.control_path, master.pid, wanted, opened, log=log if log.exists() else None
        )
        living = {h.master.pid for h in self._state().hosts.values() if h.master is not None}
        if master.pid not in living:
            return  # what its last words were about is gone with it
        self._opened = {pid: f for pid, f in self._opened.items() if pid in living}
        self._opened[master.pid] = tuple(r.forward for r in results if r.state == "open")
        self._records.set_forwards(master.pid, [_written(f) for f in self._opened[master.pid]])
        self._post(ForwardsChanged(time.monotonic(), host.name, results))

    def _already(self, master: Master) -> tuple[Forward, ...]:
        """Return what is open: as this agent knows it, else as the one before it wrote down."""
        if master.pid in self._opened:
            return self._opened[master.pid]
        return tuple(map(_read, self._records.opened(master.pid, master.start_ticks)))


def _wanted(host: Host, master: Master) -> tuple[Forward, ...]:
    """Return what the master is to have; ssh_config's forwards on a user's own are the user's ssh's business."""
    return wanted_forwards(host) if master.ours else host.wish.forwards


def _read(line: str) -> Forward:
    kind, _, spec = line.partition(" ")
    return parse(cast("ForwardKind", kind), spec)


def _written(forward: Forward) -> str:
    return f"{forward.kind} {forward.spec}"
