"""Detect a login that is stuck because the network swallows large packets.

Small packets pass, such as the server's banner. But the first packets of the key exchange, which fill a whole MTU,
never arrive. Without this check, the agent would report a dead server at every attempt.
"""

from __future__ import annotations

from msgspec import Struct

from trayagent.errors import TrayagentError
from trayagent.ssh.master.banner_check import banner_answers
from trayagent.ssh.os.tcp_connection import flow_of, tcp_facts

# Random loss does not cause this many retransmissions in a row, because the pause between them doubles.
_RETRANSMISSIONS = 3
# Less data than this fits into one packet on any network: IPv6 requires an MTU of at least 1280.
_LARGE = 1024
_SMALL_DEADLINE_S = 5.0


class Stall(Struct, frozen=True):
    """A stuck login: the server at `peer` sent data to `local`, but no large packet reached the server."""

    local: str
    peer: str
    port: int

    async def passes_small(self) -> bool:
        """Report whether the server still answers small packets."""
        try:
            return await banner_answers(self.peer, self.port, deadline_s=_SMALL_DEADLINE_S)
        except OSError:
            return False


def stall_of(pid: int) -> Stall | None:
    """Return the stall of a login in progress, or None if large packets are not the reason.

    In a stall, the server has sent data, our small packets were acknowledged, and retransmissions of a large one get no
    answer. A network that is gone looks the same, so call `Stall.passes_small` before you report the stall.
    """
    try:
        flow = flow_of(pid)
        facts = tcp_facts(flow) if flow is not None else None
    except TrayagentError:  # without the kernel's answer, only the login's own failure is reported
        return None
    if flow is None or facts is None:
        return None
    spoke = facts.bytes_received > 0 and facts.bytes_acked > 1
    in_vain = facts.queued >= _LARGE and max(facts.backoff, facts.retransmits) >= _RETRANSMISSIONS
    return Stall(flow.local_ip, flow.peer_ip, flow.peer_port) if spoke and in_vain else None
