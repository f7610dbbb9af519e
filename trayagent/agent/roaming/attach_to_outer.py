"""Attaches the near relay to a far relay through an outer master. The link then carries the connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

from trayagent.agent.parts import Parts
from trayagent.agent.roaming import far_relay_commands as far
from trayagent.agent.roaming.attach_to_port import PortAttacher
from trayagent.agent.roaming.end_connection import ConnectionEnder, name_of
from trayagent.agent.roaming.far_relay_errors import FarError
from trayagent.agent.roaming.far_relay_is_gone import PROVEN
from trayagent.agent.roaming.far_relay_is_gone import check as check_gone
from trayagent.agent.roaming.far_relay_without_python import Found
from trayagent.agent.roaming.far_relay_without_python import check as check_without_python
from trayagent.agent.roaming.install_far_relay import install_if_missing
from trayagent.agent.roaming.lost_far_relays import LostConnections
from trayagent.agent.roaming.near_relay_connection import (
    SILENT,
    NearRelayConnection,
    NearRelayError,
    NearRelayListener,
)
from trayagent.agent.roaming.near_relay_process import NearRelayProcess
from trayagent.agent.state.record_types import KeptRoaming
from trayagent.core.facts import actions as a
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.roaming_events import (
    RoamingAttached,
    RoamingAttachFailed,
    RoamingEnded,
)
from trayagent.errors import TrayagentError
from trayagent.ssh.mux.errors import MuxError
from trayagent.ssh.os.carried import carried_by
from trayagent.ssh.remote import run_script

log = logging.getLogger(__name__)

SLOW_S = 5.0  # an attach takes one round trip and the start of python3
ATTACH_S = 65.0  # the near relay gives up after 60 s
# The near relay's codes for a channel on which no far relay answered: the command ended, or printed only an error.
_NO_PROGRAM = frozenset({"closed", "no-marker"})
# With these codes, the `attach` command found no socket. The far relay may still run.
_NOT_FOUND = frozenset({"unknown", "unsafe-folder"})


class OuterAttacher:
    """Attaches connections to outer masters. The results are posted as events."""

    def __init__(
        self,
        parts: Parts,
        near_relay: NearRelayProcess,
        lost: LostConnections,
        ender: ConnectionEnder,
        ports: PortAttacher,
    ) -> None:
        self._shell = parts.shell
        self._records = parts.records
        self._file_paths = parts.file_paths
        self._near_relay = near_relay
        self._lost = lost
        self._ender = ender
        self._ports = ports

    async def attach(self, action: a.AttachRoaming, host: Host, listener: NearRelayListener) -> None:
        """Move the link to a new outer master. `listener` gets the events of the near relay."""
        now, name, outer = time.monotonic, host.name, action.master
        pid = host.roaming.inner.pid if host.roaming is not None else 0
        kept = self._records.roaming_of(pid)
        if kept is None:
            self._shell.post(RoamingEnded(now(), name, pid, "near-relay-lost"))
            return
        try:
            near = await self._near(kept, listener)
        except NearRelayError as error:
            log.info("%s: %s", name, error.title)
            self._shell.post(RoamingAttachFailed(now(), name, outer.pid, _code_of(error)))
            return
        if near is None:
            self._ender.end_lost(kept, "near-relay-lost")
            return
        if self._ports.carries(kept):
            sessions = carried_by(pid).sessions
            self._shell.post(RoamingAttached(now(), name, outer.pid, sessions, by_port=True))
            return
        try:
            answer, gone = await self._tried(near, kept, name, outer)
        except (TrayagentError, OSError) as error:
            said = error.title if isinstance(error, TrayagentError) else str(error)
            self._shell.post(RoamingAttachFailed(now(), name, outer.pid, _code_of(error), said))
            return
        await self._judge(kept, host, outer, answer, gone)

    async def _tried(
        self, near: NearRelayConnection, kept: KeptRoaming, name: str, outer: Master
    ) -> tuple[dict[str, Any], Found | None]:
        """Return the near relay's answer to an attach, and what is known of a server without python3."""
        answer = await self.attached(near, kept, outer)
        if answer.get("error") in _NO_PROGRAM and await self._is_installed_again(name, outer):
            answer = await self.attached(near, kept, outer)
        if answer.get("error") not in _NO_PROGRAM:
            return answer, None
        return answer, await check_without_python(self._present_path(name, outer), kept)

    async def _judge(
        self, kept: KeptRoaming, host: Host, outer: Master, answer: dict[str, Any], gone: Found | None
    ) -> None:
        """Post what an attach resulted in. If the far relay is proven gone, end the connection."""
        now, name = time.monotonic, host.name
        pid = host.roaming.inner.pid if host.roaming is not None else 0
        same = answer.get("machine") == kept.machine
        other_boot = same and answer.get("boot") != kept.far_boot
        if answer["ok"] is True:
            self._note_address(kept, outer)
            self._shell.post(RoamingAttached(now(), name, outer.pid, carried_by(pid).sessions))
        elif (same or gone is not None) and not _may_be_same(host, outer):
            self._shell.post(RoamingAttachFailed(now(), name, outer.pid, "other-machine"))
        elif gone in PROVEN:
            await self._dead(kept, outer, str(gone))
            self._records.drop_roaming(kept.token[:16])
        elif answer.get("error") == "unknown" and answer.get("machine") is None:
            self._ender.end_lost(kept, "near-relay-lost")  # the near relay does not have it any more
        elif same and (other_boot or answer.get("error") in _NOT_FOUND):
            await self._not_found(kept, outer)
        else:
            self._shell.post(RoamingAttachFailed(now(), name, outer.pid, gone or str(answer.get("error"))))

    async def _near(self, kept: KeptRoaming, listener: NearRelayListener) -> NearRelayConnection | None:
        """Return the connection to the near relay, None if the process that carried this connection ended.

        It may not have answered when the agent started. Raise NearRelayError.
        """
        near = self._near_relay.connection or await self._near_relay.find(listener)
        return near if near is not None and near.greeting.instance == kept.near else None

    async def attached(self, near: NearRelayConnection, kept: KeptRoaming, outer: Master) -> dict[str, Any]:
        """Return the near relay's answer to an attach over a channel of this outer master.

        First try a link straight to the far relay's socket, because it starts no process on the server. If that fails,
        run the far relay's `attach` command there, which also reports a reason if it fails.
        """
        token_id, refused = kept.token[:16], False
        if kept.far_path:
            try:
                local = self._file_paths.runtime_dir / f"connection-link-{outer.pid}-{token_id[:8]}"
                async with far.direct_link(outer.control_path, kept.far_path, local) as link:
                    answer = await near.attach(token_id, [link.fileno()], within_s=ATTACH_S)
                if answer["ok"] is True:
                    return answer
                log.info("%s: no direct link: %s", kept.host, answer.get("error"))
                refused = answer.get("machine") is None
            except (TrayagentError, OSError) as error:
                log.info("%s: no direct link: %s", kept.host, error)
        channel = await far.open_channel(self._present_path(kept.host, outer), token_id)
        try:
            answer = await _attached_by(channel, near, token_id, self._present_path(kept.host, outer))
        finally:
            channel.close()
        if answer["ok"] is True and refused:
            kept.far_path = ""  # sshd forbids direct links, so skip that round trip at the next attach
            self._records.set_roaming(kept)
        return answer

    async def _not_found(self, kept: KeptRoaming, outer: Master) -> None:
        """End a connection if its far relay is proven gone. Otherwise report why the sessions wait."""
        name = name_of(self._shell.state, kept)
        found: str
        try:
            found = await check_gone(self._present_path(name, outer), kept)
        except FarError as error:
            found = error.code
        except (TrayagentError, OSError):
            found = "no-channel"
        if found not in PROVEN:
            self._shell.post(RoamingAttachFailed(time.monotonic(), name, outer.pid, found))
            return
        await self._dead(kept, outer, found)
        if found == "server-rebooted":
            self._records.drop_roaming(kept.token[:16])
        else:
            self._lost.mark(kept)  # it may hold remote forwards where the system does not list its socket

    async def _is_installed_again(self, name: str, outer: Master) -> bool:
        """Install the far relay's program if it is missing. Return whether the caller may retry the attach.

        False if nothing was missing, or if the agent meanwhile attaches through another outer master: a second attach
        would replace that link.
        """
        try:
            if not await install_if_missing(self._present_path(name, outer)):
                return False
        except (TrayagentError, OSError) as error:
            log.info("%s: the far relay's program was not installed again: %s", name, error)
            return False
        log.info("%s: the far relay's program was missing on the server, and is installed again", name)
        host = self._shell.state.hosts.get(name)
        return host is not None and host.roaming is not None and host.roaming.attaching == outer.pid

    def _note_address(self, kept: KeptRoaming, outer: Master) -> None:
        """Record the server's address at which this outer master reached the far relay."""
        if (
            outer.direct
            and outer.peer is not None
            and (kept.address, kept.port) != (outer.peer, outer.peer_port)
        ):
            kept.address, kept.port = outer.peer, outer.peer_port
            self._records.set_roaming(kept)

    def _present_path(self, name: str, outer: Master) -> str:
        """Return the present control path of an outer master. A take-over may have moved the master there."""
        host = self._shell.state.hosts.get(name)
        master = host.master if host is not None else None
        return master.control_path if master is not None and master.pid == outer.pid else outer.control_path

    async def _dead(self, kept: KeptRoaming, outer: Master, why: str) -> None:
        """End a connection on this machine, because its server reported that the far relay is gone."""
        # Post the reason here: the watch on the inner master reports only that the master died.
        name = name_of(self._shell.state, kept)
        self._shell.post(RoamingAttachFailed(time.monotonic(), name, outer.pid, why))
        log.info("%s: the inner master %s ends: %s", kept.host, kept.inner, why)
        await self._ender.end_here(kept, why)


async def _attached_by(
    channel: far.Channel, near: NearRelayConnection, token_id: str, control_path: str
) -> dict[str, Any]:
    """Return the near relay's answer to an attach over a channel.

    Raise FarError if no answer comes soon, and the server runs no commands: a forced command may keep the channel open.
    """
    attach = asyncio.ensure_future(near.attach(token_id, channel.fds, within_s=ATTACH_S))
    try:
        await asyncio.wait({attach}, timeout=SLOW_S)
        if not attach.done():
            with contextlib.suppress(MuxError):  # the line may be slow
                if await run_script.run(control_path, "true") is None:
                    raise FarError("no-shell")
        return await attach
    finally:
        attach.cancel()


def _code_of(error: Exception) -> str:
    """Return the code of an attach that failed with this error."""
    if isinstance(error, FarError):
        return error.code
    silent = isinstance(error, NearRelayError) and error.code == SILENT
    return "near-relay-silent" if silent else "no-channel"


def _may_be_same(host: Host, outer: Master) -> bool:
    """Report whether an outer master may have reached the inner one's machine. A clone has another host key."""
    inner = host.roaming.inner.host_key if host.roaming is not None else None
    return inner is None or outer.host_key is None or outer.host_key == inner
