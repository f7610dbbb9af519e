"""Tell a login that is stuck because the network swallows large packets.

TCP, the servers' banners and other small packets pass, and the first packets of the key exchange, which fill a
whole MTU, never arrive. It looks like a dead server, and every retry looks the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from trayagent.errors import TrayagentError
from trayagent.ssh.master.banner_check import knock
from trayagent.ssh.os.flows import flow_of, tcp_facts

# So many retransmissions in a row, each after twice the time of the one before, are no accident of a lossy line.
_RETRANSMISSIONS = 3
# Less than this fits into any packet: IPv6 asks for an MTU of 1280.
_LARGE = 1024
_SMALL_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Stall:
    """Where a silent login is stuck: its server spoke to `local`, and then `peer` took no large packet."""

    local: str
    peer: str
    port: int

    async def passes_small(self) -> bool:
        """Report whether the server that took no large packet still answers with a small one."""
        try:
            return await knock(self.peer, self.port, deadline_s=_SMALL_DEADLINE_S)
        except OSError:
            return False


def stall_of(pid: int) -> Stall | None:
    """Return the stall of a login that is under way, None where it is stuck by something else.

    The server has spoken, our own small packets were acknowledged, and a large one is sent in vain. A network
    that is gone altogether looks the same, so ask for a small answer before saying so.
    """
    try:
        flow = flow_of(pid)
        facts = tcp_facts(flow) if flow is not None else None
    except TrayagentError:  # the login's own end is told, whatever the kernel does not tell
        return None
    if flow is None or facts is None:
        return None
    spoke = facts.bytes_received > 0 and facts.bytes_acked > 1
    in_vain = facts.queued >= _LARGE and max(facts.backoff, facts.retransmits) >= _RETRANSMISSIONS
    return Stall(flow.local_ip, flow.peer_ip, flow.peer_port) if spoke and in_vain else None
