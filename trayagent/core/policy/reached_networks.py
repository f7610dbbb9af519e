"""Records the networks and interfaces through which a host was reached, and which VPN it needs; pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Remember
from trayagent.core.facts.hosts import NETWORKS_KEPT, Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Network
from trayagent.core.facts.state import Past, State
from trayagent.core.policy.mptcp import identified
from trayagent.core.usable_routes import is_private, network_between, network_here


def note_reached(context: Context, host: Host) -> Host:
    """Store the network, the interface and the learned VPN through which a living master was reached."""
    master = host.master
    if master is None or host.path is None or not host.path.present:
        return host
    egress = host.path.egress
    network = host.network
    reached = host.reached.networks
    if network is not None and network.known and not host.reached.at(network):
        reached = frozenset([network, *sorted(reached, key=_words_of)[: NETWORKS_KEPT - 1]])
    learned = _learned_vpn(context, host)
    through = host.reached.interfaces | ({egress} if egress else frozenset())
    known = network is not None and network.known
    mptcp = host.mptcp
    if network is not None and known:
        mptcp = identified(host.mptcp, network, context.now, works=master.mptcp)
    if (reached, learned, through, mptcp) == (
        host.reached.networks,
        host.reached.learned_vpn,
        host.reached.interfaces,
        host.mptcp,
    ):
        return host
    remembered = (reached, learned, mptcp) != (host.reached.networks, host.reached.learned_vpn, host.mptcp)
    host = context.put(
        host,
        reached=replace(host.reached, networks=reached, learned_vpn=learned, interfaces=through),
        mptcp=mptcp,
    )
    if remembered:
        context.do(Remember(host.name))
    return host


def network_made_on(state: State, master: Master, made_at: float) -> Network | None:
    """Return the network on which a connection was made at `made_at` (monotonic), or None if that is unknown.

    `made_at` is too early if the machine was suspended since then, so a network from before the last wake is unknown.
    """
    every = (Past(state.network_at, state.snapshot), *state.past)
    then = next((past for past in every if past.at <= made_at), None)
    if then is None or state.woke_at > then.at or master.local is None or master.peer is None:
        return None
    return network_between(then.snapshot, master.local, master.peer)


def _words_of(network: Network) -> tuple[str, str, str]:
    return (network.egress, network.gateway, network.name)


def _learned_vpn(context: Context, host: Host) -> str | None:
    """Return the VPN without which the host's private address is unreachable, as far as known."""
    path, master = host.path, host.master
    if path is None or path.egress is None or master is None or master.peer is None:
        return host.reached.learned_vpn
    direct = not in_tunnel(host, context)
    if has_public_address((*host.addresses, *([master.peer] if direct else []))):
        return None  # a public address is reachable from anywhere
    if host.wish.vpn is not None or not context.state.learn_vpn or not is_private(master.peer):
        return host.reached.learned_vpn
    # The host was reached here without the VPN, so only other networks need the VPN.
    if direct or host.reached.at(network_here(context.state.snapshot)):
        return host.reached.learned_vpn
    return path.egress


def has_public_address(addresses: Iterable[str]) -> bool:
    """Report whether any of the addresses is public, so that it leads to the same machine from every network."""
    return any(not is_private(ip) for ip in addresses)


def in_tunnel(host: Host, context: Context) -> bool:
    """Report whether the master's connection goes through a tunnel."""
    egress = host.path.egress if host.path is not None else None
    interface = context.state.snapshot.interface(egress) if egress is not None else None
    return interface is not None and interface.kind == "vpn"
