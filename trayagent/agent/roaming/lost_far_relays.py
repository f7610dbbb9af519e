"""Ends far relays that were left behind. They may hold remote forwards, although no near relay attaches to them."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from trayagent.agent.parts import Parts
from trayagent.agent.roaming import far_relay_commands as far
from trayagent.agent.roaming.far_relay_errors import FarError
from trayagent.agent.roaming.far_relay_is_gone import PROVEN
from trayagent.agent.roaming.far_relay_is_gone import check as check_gone
from trayagent.agent.roaming.near_relay_process import NearRelayProcess
from trayagent.agent.state.record_types import KeptRoaming
from trayagent.core.facts.masters import Master
from trayagent.errors import TrayagentError
from trayagent.ssh.os.process import alive

log = logging.getLogger(__name__)

_KEPT_S = (
    86_400.0  # a far relay without an attach ends after `roam_for`; the agent remembers it this much longer
)


class LostConnections:
    """Marks roaming connections as lost, and ends their far relays through the next master of the host."""

    def __init__(self, parts: Parts, near_relay: NearRelayProcess) -> None:
        self._records = parts.records
        self._near_relay = near_relay
        # The tasks that begin to roam, by the pid of the master through which they do; the pids of those that already
        # exchange the control paths; and of those that must give up.
        self.beginning: dict[int, asyncio.Task[Any] | None] = {}
        self.exchanging: set[int] = set()
        self.unwanted: set[int] = set()

    async def stop_beginning(self, master: Master) -> None:
        """Let a host that begins to roam through this master give up. Return when its far relay has ended.

        If it already exchanges the control paths, return when it roams.
        """
        task = self.beginning.get(master.pid)
        if task is None:
            return
        if master.pid not in self.exchanging:
            self.unwanted.add(master.pid)
            task.cancel()
        await asyncio.wait({task})

    def mark(self, kept: KeptRoaming) -> None:
        """Note that the connection ended on this machine. Its far relay may still wait for an attach."""
        if kept.lost_at is None and kept.token[:16] in self._records.roaming():
            kept.lost_at = time.time()
            self._records.set_roaming(kept)

    def has_inner(self, kept: KeptRoaming) -> bool:
        """Report whether the inner master of a connection is alive."""
        return kept.boot == self._records.boot and kept.inner is not None and alive(kept.inner, kept.start)

    def forget_old(self) -> None:
        """Forget lost connections whose far relay must have ended long ago, by its own time limit (`roam_for`)."""
        for token_id, kept in self._records.roaming().items():
            if self._is_old(kept):
                self._records.drop_roaming(token_id)

    @staticmethod
    def _is_old(kept: KeptRoaming) -> bool:
        return kept.lost_at is not None and time.time() - kept.lost_at > kept.roam_for_s + _KEPT_S

    async def end_all(self, name: str, master: Master) -> None:
        """End the far relays of a host's lost connections through this master of the host.

        Never raise: the next call can end a far relay that this call cannot end. Each also ends after `roam_for`.
        """
        for token_id, kept in self._records.roaming().items():
            if kept.host != name or (kept.lost_at is None and (kept.inner is None or self.has_inner(kept))):
                continue
            self.mark(kept)
            await self._near_relay.end(token_id)
            try:
                await self.end(kept, master)
            except (TrayagentError, OSError) as error:
                log.info("%s: the far relay of a lost connection was not ended: %s", name, error)
                if self._is_old(kept):
                    self._records.drop_roaming(token_id)

    async def end(self, kept: KeptRoaming, master: Master) -> None:
        """End a far relay, and forget the connection. Raise FarError if a later login may find the relay.

        It may be on another machine, or this login may be in a container.
        """
        try:
            answer = await far.end(master.control_path, kept.token)
        except FarError as refused:
            if refused.code != "unknown" or kept.machine not in {"", refused.machine}:
                raise
            if kept.machine and await check_gone(master.control_path, kept) not in PROVEN:
                raise
        else:
            log.info("%s: ended the far relay %s on %s", kept.host, kept.token[:16], answer.machine)
        self._records.drop_roaming(kept.token[:16])
