"""Attaches the near relay to a far relay through its TCP port, which needs one round trip and no login."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from asyncio.staggered import staggered_race
from functools import partial
from typing import Any

from trayagent.agent.parts import Parts
from trayagent.agent.roaming.near_relay_connection import NearRelayConnection, NearRelayError
from trayagent.agent.roaming.near_relay_process import NearRelayProcess
from trayagent.agent.state.record_types import KeptRoaming
from trayagent.core.facts import actions as a
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.roaming_events import RoamingAttachedByPort, RoamingPortFailed
from trayagent.roaming.far_relay_and_resend_buffer import use_for_link
from trayagent.ssh.os.carried import carried_by

log = logging.getLogger(__name__)

CONNECT_S = 6.0  # the kernel sends the first packet again after 1 s and 3 s
ATTACH_S = 10.0
# A network that has just come up often loses the first packet, and the kernel would send it again only after 1 s.
_SECOND_S, _SECOND_MAX_S = 0.15, 1.0
_KEEP_ALIVE = {
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 20,
    "TCP_KEEPCNT": 3,
}  # idle for 60 s, then lost after 60 s more
# The near relay's codes after which nothing is to be reported: a channel attached first, or the connection ended.
_OVERTAKEN = frozenset({"replaced", "over", "unknown"})


class PortAttacher:
    """Moves links to TCP ports of far relays. The results are posted as events."""

    def __init__(self, parts: Parts, near_relay: NearRelayProcess) -> None:
        self._shell = parts.shell
        self._records = parts.records
        self._near_relay = near_relay
        self._by_port: set[str] = set()  # the IDs of the connections whose link is on a port
        self._round_trips_s: dict[str, float] = {}  # by ID

    def carries(self, kept: KeptRoaming) -> bool:
        """Report whether a port carries the link, as far as the near relay reported."""
        return kept.token[:16] in self._by_port

    def relay_reported(self, token_id: str, event: dict[str, Any]) -> None:
        """Note on which way a link is, from an event of the near relay."""
        if event["event"] == "attached" and event.get("by") == "port":
            self._by_port.add(token_id)
        else:
            self._by_port.discard(token_id)
        if isinstance(rtt_s := event.get("rtt_s"), float):
            self._round_trips_s[token_id] = rtt_s

    async def attach(self, action: a.AttachByPort, host: Host) -> None:
        """Move the link of a host to the far relay's port."""
        pid = host.roaming.inner.pid if host.roaming is not None else 0
        kept, near = self._records.roaming_of(pid), self._near_relay.connection
        if kept is None:
            return
        token_id = kept.token[:16]
        self._by_port.discard(token_id)
        if near is None:
            code: str | None = "near-relay-silent"
        elif not near.greeting.ports:
            code = "near-relay-old"
        else:
            code = await self._attached(action, near, token_id)
        if code is None:
            sessions = carried_by(pid).sessions
            self._shell.post(RoamingAttachedByPort(time.monotonic(), host.name, sessions))
        elif code not in _OVERTAKEN:
            log.info("%s: not attached by port %d: %s", host.name, action.port, code)
            self._shell.post(RoamingPortFailed(time.monotonic(), host.name, code))

    async def _attached(self, action: a.AttachByPort, near: NearRelayConnection, token_id: str) -> str | None:
        """Attach by the port. Return None if the link is there, else a code."""
        second_s = min(_SECOND_MAX_S, max(_SECOND_S, 2 * self._round_trips_s.get(token_id, 0.0)))
        try:
            sock = await _connected(action.address, action.port, second_s)
        except OSError as error:
            return "refused" if isinstance(error, ConnectionRefusedError) else "no-connection"
        with sock:
            try:
                answer = await near.attach_port(token_id, sock.fileno(), within_s=ATTACH_S)
            except NearRelayError as error:
                return error.code
        return None if answer["ok"] is True else str(answer.get("error"))


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel check the connection while it is idle, as ssh's ServerAlive does for a master.

    Without an outer master, nothing else would notice that a router forgot the connection.
    """
    for option, value in _KEEP_ALIVE.items():
        if (number := getattr(socket, option, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, number, value)


async def _connected(address: str, port: int, second_s: float) -> socket.socket:
    """Return a connection. Try a second one after `second_s`, in case a packet is lost. Raise OSError."""
    once = partial(_connect, address, port)
    connected, _, failed = await staggered_race([once, once], second_s)
    if isinstance(connected, socket.socket):
        return connected
    raise next((one for one in failed if isinstance(one, OSError)), TimeoutError())


async def _connect(address: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
    one = socket.socket(found[0], socket.SOCK_STREAM)
    one.setblocking(False)
    try:
        use_for_link(one)
        keep_alive(one)
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(one, found[4])
    except BaseException:
        one.close()
        raise
    return one
