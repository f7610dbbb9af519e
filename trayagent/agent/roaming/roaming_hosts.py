"""Effects of roaming: make a host roam, move its link to a new outer master, and end roaming.

Theory of operation. A plain master becomes the first outer master. Through it the agent starts a far relay and attaches
the near relay to it. Then it starts an inner master on a fresh path. Finally, both masters exchange their control
paths: the user's ssh finds the inner master, and a hidden path leads to the outer one. Each later outer master takes
the hidden path.

The agent records a connection before its far relay starts, and forgets it when the far relay has ended. By the record,
the next agent finds the inner master, or ends a far relay to which no near relay can attach. docs/roaming.md describes
the relays.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from trayagent.agent.forwards.wanted_forwards import Forwarding
from trayagent.agent.masters.control_path_locks import PathLocks
from trayagent.agent.masters.discovery import Discovery
from trayagent.agent.parts import Parts
from trayagent.agent.roaming.attach_to_outer import OuterAttacher
from trayagent.agent.roaming.attach_to_port import PortAttacher
from trayagent.agent.roaming.begin_on_host import RoamingStarter
from trayagent.agent.roaming.connections_of_earlier_agent import EarlierConnections
from trayagent.agent.roaming.end_connection import ConnectionEnder, name_of
from trayagent.agent.roaming.inner_master import InnerMasters
from trayagent.agent.roaming.lost_far_relays import LostConnections
from trayagent.agent.roaming.near_relay_process import NearRelayProcess
from trayagent.agent.roaming.restore_control_path import ControlPathRestorer
from trayagent.agent.roaming.terminal import Terminal
from trayagent.core.facts import actions as a
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.roaming_events import (
    RoamingAway,
    RoamingStalled,
)
from trayagent.core.facts.state import State

log = logging.getLogger(__name__)

_JUST_LOST_S = 5.0


class RoamingHosts:
    """Begins, continues and ends the roaming of hosts. The results are posted as events."""

    def __init__(
        self,
        parts: Parts,
        discovery: Discovery,
        forwarding: Forwarding,
        inner_masters: InnerMasters,
        near_relay: NearRelayProcess,
        lost: LostConnections,
        locks: PathLocks,
    ) -> None:
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._records = parts.records
        self._forwarding = forwarding
        self._near_relay = near_relay
        self._lost = lost
        self._ender = ConnectionEnder(parts, near_relay, lost)
        self._ports = PortAttacher(parts, near_relay)
        self._attacher = OuterAttacher(parts, near_relay, lost, self._ender, self._ports)
        self._restorer = ControlPathRestorer(parts, discovery, locks)
        self._starter = RoamingStarter(
            parts, forwarding, inner_masters, near_relay, lost, locks, self._attacher, self._ender
        )
        self._earlier = EarlierConnections(parts, near_relay, lost, self._ender, self._restorer)
        # Outer masters through which the dead sessions of earlier outer masters were ended, and the IDs of the lost
        # connections whose far relays were ended through each.
        self._carriers: dict[int, set[str]] = {}

    # Actions.

    def begin(
        self, action: a.BeginRoaming, host: Host, terminal: Terminal | None = None
    ) -> asyncio.Task[None]:
        """Start an inner master through a plain one, if `terminal` is given there. Return the task that does so."""
        work = self._starter.begin(action, host, self, terminal)
        return self._tasks.start(f"begin roaming {action.master.pid}", work)

    def attach(self, action: a.AttachRoaming, host: Host) -> None:
        """Move the link to a new outer master."""
        self._tasks.start(f"attach {action.master.pid}", self._attacher.attach(action, host, self))

    def attach_by_port(self, action: a.AttachByPort, host: Host) -> None:
        """Move the link to the far relay's TCP port."""
        name = f"attach by port {action.name}"
        self._tasks.cancel(name)
        self._tasks.start(name, self._ports.attach(action, host))

    def end(self, action: a.EndRoaming) -> None:
        """End a connection, and with it its inner master."""
        self._tasks.start(f"end roaming {action.pid}", self._ender.end(action))

    def move_back(self, action: a.RestorePath, host: Host) -> None:
        """Move a former outer master to the user's control path."""
        self._tasks.start(f"move back {action.master.pid}", self._restorer.move_back(action, host))

    def follow(self, state: State) -> None:
        """Mark connections as lost if their inner master has ended. Without a link, no relay reports that."""
        inner = {host.roaming.inner.pid for host in state.hosts.values() if host.roaming is not None}
        for kept in self._records.roaming().values():
            if kept.inner not in {None, *inner} and not self._lost.has_inner(kept):
                self._lost.mark(kept)
        for host in state.hosts.values():
            if host.roaming is not None and host.draining is not None:
                self._note_lost_path(host.roaming.inner.pid, _outer_of(state, host, host.draining.owner))
        self._end_lost_sessions(state)

    def _note_lost_path(self, inner: int, outer: Master | None) -> None:
        """Record that an inner master drains with this outer master, because their sockets may be gone."""
        kept = self._records.roaming_of(inner)
        pid, start = (outer.pid, outer.start_ticks) if outer is not None else (None, 0)
        if kept is not None and (kept.lost_path, kept.outer) != (True, pid):
            kept.lost_path, kept.outer, kept.outer_start = True, pid, start
            self._records.set_roaming(kept)

    def _end_lost_sessions(self, state: State) -> None:
        """End the dead sessions of earlier outer masters, once through each outer master that carries a link.

        Through these, end the far relays of lost connections, too: of earlier inner masters, or of this host before it
        began to roam again.
        """
        hosts = [h for h in state.hosts.values() if h.draining is None]
        linked = {h.master.pid: h for h in hosts if h.roaming and h.master and h.linked}
        self._carriers = {pid: ended for pid, ended in self._carriers.items() if pid in linked}
        kept = self._records.roaming()
        for pid, host in linked.items():
            if host.master is None or host.suspect:
                continue
            if pid not in self._carriers:
                self._carriers[pid] = set()
                self._forwarding.end_lost_sessions(host, host.master)
            lost = {key for key, one in kept.items() if one.host == host.name and one.lost_at is not None}
            if lost - self._carriers[pid]:
                self._carriers[pid] |= lost
                self._tasks.start(f"end far relays {pid}", self._lost.end_all(host.name, host.master))

    # The agent's start and end.

    async def find(self) -> None:
        """Post the inner masters of an earlier agent, and end those that cannot continue. Never raises."""
        await self._earlier.find(self)

    async def close(self) -> None:
        """Disconnect from the near relay. End the relay if it carries no connections."""
        await self._near_relay.close()

    # The near relay.

    def relay_reported(self, event: dict[str, Any]) -> None:
        """React to an event of the near relay."""
        token_id = str(event.get("id"))
        kept = self._records.roaming().get(token_id)
        if kept is None or token_id in self._ender.ending:
            return
        now, why = time.monotonic(), str(event.get("why", ""))
        name = name_of(self._shell.state, kept)
        stuck = self._ports.carries(kept) and event["event"] == "stalled"
        self._ports.relay_reported(token_id, event)
        if event["event"] == "away" and kept.inner is not None:
            self._shell.post(RoamingAway(now, name, why))
        elif event["event"] == "stalled":
            self._shell.post(RoamingStalled(now, name))
            if stuck:  # the outer master may be fine, and can carry the link
                self._shell.post(RoamingAway(now, name, "stalled"))
        elif event["event"] == "ended":
            if why in {"closed", "unused"}:  # the far relay ended, too; `MasterWatch` posts the end
                self._records.drop_roaming(token_id)
                return
            self._ender.end_lost(kept, why)

    def relay_lost(self) -> None:
        """End the inner masters of all connections that the near relay carried, because it ended."""
        near, self._near_relay.connection = self._near_relay.connection, None
        if near is None:
            return
        self._near_relay.running()  # collects the exit status of the process
        instance = near.greeting.instance
        recently = time.time() - _JUST_LOST_S  # `follow` may have marked them already
        lost = [
            kept
            for kept in self._records.roaming().values()
            if kept.near == instance and (kept.lost_at is None or kept.lost_at > recently)
        ]
        if lost:
            hosts = ", ".join(sorted({kept.host for kept in lost}))
            log.warning("the near relay ended, and with it the sessions of %s", hosts)
        for kept in lost:
            self._ender.end_lost(kept, "near-relay-lost")


def _outer_of(state: State, host: Host, owner: str) -> Master | None:
    """Return the outer master of an earlier inner one, which may be that of another earlier one of the same host."""
    if host.master is not None or host.roaming is None:
        return host.master
    masters = (other.master for other in state.draining(owner))
    return next((m for m in masters if m is not None and m.pid == host.roaming.carrier), None)
