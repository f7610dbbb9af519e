"""Adds to a master what the kernel knows about the connection that carries it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from ipaddress import ip_address

from msgspec.structs import replace

from trayagent.core.facts.masters import Master
from trayagent.ssh.os.datagrams import may_use_datagrams
from trayagent.ssh.os.local_daemons import may_be_elsewhere
from trayagent.ssh.os.tcp_connection import Flow, tcp_facts


def with_ends(master: Master, flow: Flow | None) -> Master:
    """Return a master with the ends of its connection, or without ends if the connection is not known for certain.

    A ProxyCommand with a UDP socket (QUIC) may carry the master by datagrams, which survive the loss of an address. A
    ProxyCommand that this user cannot read, or that passes its data to a daemon, may have any other connection. If ssh
    itself has several, nothing shows its own. Then the addresses of the known TCP connections are only `other_locals`.
    Raise NetlinkError.
    """
    carrier = flow.carrier_pid if flow is not None else None
    several = flow is not None and flow.via == "direct" and bool(flow.others)
    if several or ((flow is None or flow.via != "direct") and may_survive(master.pid, carrier)):
        return without_ends(replace(master, carrier=carrier), flow)
    if flow is None:
        return replace(master, direct=False)
    flows = (flow, *flow.others)
    return replace(
        master,
        local=flow.local_ip,
        local_port=flow.local_port,
        peer=flow.peer_ip,
        peer_port=flow.peer_port,
        direct=flow.via == "direct",
        carrier=carrier,
        min_rtt_s=_min_rtt_s(flows),
        other_locals=frozenset(other.local_ip for other in flow.others),
        bound=_bound_to(flow),
        lossy=any(facts is not None and facts.bytes_retrans > 0 for facts in map(tcp_facts, flows)),
    )


def without_ends(master: Master, flow: Flow | None) -> Master:
    """Return a master that something else than these TCP connections of its transport may carry."""
    flows = (flow, *flow.others) if flow is not None else ()
    return replace(
        master,
        local=None,
        local_port=0,
        peer=None,
        peer_port=0,
        direct=False,
        min_rtt_s=_min_rtt_s(flows),
        other_locals=frozenset(one.local_ip for one in flows),
        datagrams=True,
    )


def may_survive(pid: int, carrier: int | None) -> bool:
    """Report whether an ssh may survive the loss of all addresses of its transport. Raise NetlinkError."""
    return may_use_datagrams(pid, carrier) or may_be_elsewhere(pid, carrier)


def _bound_to(flow: Flow) -> str | None:
    """Return the interface to which a connection is bound, None if it is link-local or not bound."""
    if not flow.scope or ip_address(flow.local_ip.partition("%")[0]).is_link_local:
        return None
    with contextlib.suppress(OSError):  # the interface is gone
        return socket.if_indextoname(flow.scope)
    return None


def _min_rtt_s(flows: Iterable[Flow]) -> float | None:
    """Return the minimum round trip of the slowest connection, because any of them may carry a probe."""
    facts = (tcp_facts(flow) for flow in flows)
    rtts = (one.min_rtt_s for one in facts if one is not None and one.min_rtt_s is not None)
    return max(rtts, default=None)
