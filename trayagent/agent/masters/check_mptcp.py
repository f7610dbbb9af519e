"""Checks for doctor whether a host's server speaks Multipath TCP: one connection that is closed before any login."""

from __future__ import annotations

import socket
import time
from typing import Literal

from msgspec.structs import replace

from trayagent.agent.parts import Parts
from trayagent.core.facts.events import MptcpChecked
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.mptcp import MptcpTry, Outcome
from trayagent.core.facts.time_constants import MPTCP_PLAIN_AFTER_S
from trayagent.core.policy.admission import admission
from trayagent.core.policy.mptcp import may_be_tried
from trayagent.ssh.master.mptcp_socket import is_enabled
from trayagent.ssh.master.preconnect import PreconnectedSocket

Answer = Literal["speaks", "plain", "dropped", "silent", "tunnel", "offline", "proxy", "off", "machine"]
"""What the check shows.

"speaks", "plain": whether the server does. "dropped": only plain TCP gets an answer on this network. "silent": neither
does. "tunnel": a tunnel carries the connection, where the agent does not use it. "offline": the host may not be
connected here. "proxy": ssh connects by a ProxyCommand. "off": the configuration forbids it. "machine": this machine's
kernel does not offer it.
"""
_WITHIN_S = 1.5
_SHOWN: dict[Outcome, Answer] = {"answered": "speaks", "fell-back": "plain", "dropped": "dropped"}


class MptcpChecks:
    """Makes the connections."""

    def __init__(self, parts: Parts) -> None:
        self._shell = parts.shell

    async def check(self, name: str) -> Answer:
        """Return what a connection to the host's server shows, and post it. Without a connection, return why."""
        state = self._shell.state
        host = state.hosts.get(name)
        if not state.mptcp:
            return "off"
        if not is_enabled():
            return "machine"
        if host is not None and host.master is not None and host.master.mptcp:
            return "speaks"
        if host is None or host.resolved is None or host.hop is None or not admission(host, state).open:
            return "proxy" if host is not None and _by_command(host) else "offline"
        if not may_be_tried(host, state.snapshot):
            return "tunnel"
        outcome, local = await _connect(host)
        if outcome is None:
            return "silent"
        self._shell.post(MptcpChecked(time.monotonic(), name, outcome, local))
        await self._shell.decided()
        return _SHOWN[outcome]


def _by_command(host: Host) -> bool:
    return host.resolved is not None and host.resolved.proxy_command is not None


async def _connect(host: Host) -> tuple[Outcome | None, str | None]:
    """Return how a connection to the host's first hop went, and its local address."""
    if host.resolved is None or host.hop is None:
        return None, None
    found: list[tuple[Outcome | None, str]] = []
    to = host.resolved.jump or replace(host.resolved, hostname=host.hop.hostname, port=host.hop.port)
    connection = PreconnectedSocket(
        to,
        _WITHIN_S,
        established=lambda local, _peer, _addresses, mptcp: found.append((mptcp, local)),
        mptcp=MptcpTry(MPTCP_PLAIN_AFTER_S),
    )
    made = await connection.made()
    if isinstance(made, socket.socket):
        made.close()
    return found[0] if found else (None, None)
