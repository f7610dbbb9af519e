"""Resumes the roaming connections of an earlier agent, and ends those that cannot continue."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import Any

from trayagent.agent.masters.discovery import describe
from trayagent.agent.parts import Parts
from trayagent.agent.roaming.end_connection import ConnectionEnder
from trayagent.agent.roaming.lost_far_relays import LostConnections
from trayagent.agent.roaming.near_relay_connection import SILENT, NearRelayError, NearRelayListener
from trayagent.agent.roaming.near_relay_process import NearRelayProcess
from trayagent.agent.roaming.restore_control_path import ControlPathRestorer
from trayagent.agent.state.record_types import KeptRoaming
from trayagent.core.facts.masters import Master
from trayagent.core.facts.roaming_events import (
    RoamingFound,
)
from trayagent.ssh.os.control_sockets import owner_of
from trayagent.ssh.os.process import alive

log = logging.getLogger(__name__)


class EarlierConnections:
    """The roaming connections that are in the records when the agent starts."""

    def __init__(
        self,
        parts: Parts,
        near_relay: NearRelayProcess,
        lost: LostConnections,
        ender: ConnectionEnder,
        restorer: ControlPathRestorer,
    ) -> None:
        self._shell = parts.shell
        self._records = parts.records
        self._near_relay = near_relay
        self._lost = lost
        self._ender = ender
        self._restorer = restorer

    async def find(self, listener: NearRelayListener) -> None:
        """Post the inner masters of an earlier agent, and end those that cannot continue. Never raises.

        `listener` gets the events of the near relay.
        """
        living: dict[Any, dict[str, Any]] = {}
        silent = False
        self._lost.forget_old()
        try:
            near = await self._near_relay.find(listener)
            living = {one["id"]: one for one in await near.sessions()} if near is not None else {}
        except NearRelayError as error:
            log.warning("%s", error.title)
            silent = error.code == SILENT
        for kept in self._records.roaming().values():
            # A silent near relay may only be stopped, so its connections wait: each attach looks for it again.
            carried = silent or self._is_carried(kept, living)
            by_port = living.get(kept.token[:16], {}).get("by") == "port"
            if not carried or not self._follow(kept, by_port=by_port):
                await self._clear(kept)

    def _is_carried(self, kept: KeptRoaming, living: Collection[Any]) -> bool:
        near = self._near_relay.connection
        return near is not None and kept.near == near.greeting.instance and kept.token[:16] in living

    def _follow(self, kept: KeptRoaming, *, by_port: bool) -> bool:
        """Post the inner master of a connection if it still runs. Return whether it does."""
        if kept.inner is None or not self._lost.has_inner(kept):
            return False
        # Without its socket, an inner master still has its sessions.
        lost_path = kept.lost_path or owner_of(kept.path) not in {None, kept.inner}
        outer = self._outer(kept) if lost_path else None
        proven = self._records.proven(kept.inner, kept.start)
        inner = describe(kept.inner, kept.path, started_by_agent=True, proven=proven)
        if inner is None:
            return False
        self._shell.post(
            RoamingFound(
                time.monotonic(),
                kept.host,
                inner,
                kept.outer_path,
                kept.address or None,
                kept.far_port,
                lost_path,
                outer,
                by_port,
            )
        )
        return True

    async def _clear(self, kept: KeptRoaming) -> None:
        """End what is left on this machine of a connection that cannot continue. `end_all` ends its far relay later."""
        self._lost.mark(kept)
        await self._ender.end_here(kept)
        if kept.outer_path:
            self._restorer.put_back(kept)

    def _outer(self, kept: KeptRoaming) -> Master | None:
        """Return the outer master of an inner one that lost the control path, None if it ended."""
        recorded = kept.outer is not None and alive(kept.outer, kept.outer_start)
        pid = kept.outer if recorded else owner_of(kept.outer_path)
        if pid is None:
            return None
        return describe(pid, self._records.path_of(pid) or kept.outer_path, started_by_agent=True)
