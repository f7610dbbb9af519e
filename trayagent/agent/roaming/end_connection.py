"""Ends the connection of a host that roams: its inner master, and its far relay if there is a link."""

from __future__ import annotations

import asyncio
import time

from trayagent.agent.masters.discovery import describe
from trayagent.agent.parts import Parts
from trayagent.agent.roaming.lost_far_relays import LostConnections
from trayagent.agent.roaming.near_relay_process import NearRelayProcess
from trayagent.agent.state.record_types import KeptRoaming
from trayagent.core.facts import actions as a
from trayagent.core.facts.roaming_events import (
    RoamingEnded,
)
from trayagent.core.facts.state import State
from trayagent.ssh.master.end_master import end

_EXIT_S = 1.0  # an inner master whose connection was closed ends within milliseconds
_POLL_S = 0.005


class ConnectionEnder:
    """Ends roaming connections. `MasterWatch` reports the end of each inner master.

    `ending`: the IDs of connections that this agent is ending, so that it ignores the relay's reports about them.
    """

    def __init__(self, parts: Parts, near_relay: NearRelayProcess, lost: LostConnections) -> None:
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._records = parts.records
        self._near_relay = near_relay
        self._lost = lost
        self.ending: set[str] = set()

    async def end(self, action: a.EndRoaming) -> None:
        """End a connection that is no longer wanted."""
        kept = self._records.roaming_of(action.pid)
        if kept is None:
            self._shell.post(RoamingEnded(time.monotonic(), action.name, action.pid, by_request=True))
            return
        await self.end_here(kept, "requested")
        self._lost.mark(kept)  # without a link, the far relay does not know that its connection ended

    async def end_here(self, kept: KeptRoaming, why: str = "") -> None:
        """End a connection on this machine, and its far relay if there is a link."""
        self.ending.add(kept.token[:16])
        await self._near_relay.end(kept.token[:16])
        if kept.inner is not None:
            await self._end_inner(kept, kept.inner, why)

    async def _end_inner(self, kept: KeptRoaming, pid: int, why: str) -> None:
        """Wait until an inner master, whose connection was closed, has ended. End it if it takes too long.

        If it had ended before, post that here. Otherwise `MasterWatch` reports the end.
        """
        if not self._lost.has_inner(kept):
            name = name_of(self._shell.state, kept)
            self._shell.post(RoamingEnded(time.monotonic(), name, pid, why))
            return
        until = time.monotonic() + _EXIT_S
        while self._lost.has_inner(kept) and time.monotonic() < until:  # noqa: ASYNC110  # the only event goes to `MasterWatch`
            await asyncio.sleep(_POLL_S)
        inner = describe(pid, kept.path, started_by_agent=True) if self._lost.has_inner(kept) else None
        if inner is not None:
            await end(inner, politely=False)

    def end_lost(self, kept: KeptRoaming, why: str) -> None:
        """End the inner master of a connection that the near relay has lost. Returns immediately."""
        self._lost.mark(kept)
        if kept.inner is not None:
            self._tasks.start(f"end roaming {kept.inner}", self._end_inner(kept, kept.inner, why))


def name_of(state: State, kept: KeptRoaming) -> str:
    """Return the name under which the state has a connection. An inner master that drains is a host of its own."""
    hosts = (h for h in state.hosts.values() if h.roaming is not None and h.roaming.inner.pid == kept.inner)
    return next((h.name for h in hosts), kept.host)
