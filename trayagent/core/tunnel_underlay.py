"""Finds the network that carries a tunnel (its underlay), if any; pure."""

from __future__ import annotations

from trayagent.core.facts.network import Snapshot
from trayagent.core.interface_addresses import first_address, global_addresses


def underlay(snapshot: Snapshot) -> tuple[str, str | None, str | None] | None:
    """Return (interface, gateway, source) of the best default route that is not a tunnel, or None.

    Without such a route, an interface counts if it carried a tunnel before: the tunnel leads to the same LAN, or has
    replaced the default route. A cable that was plugged in after the tunnel came up does not count.
    """
    for route in snapshot.default_routes:
        interface = snapshot.interface(route.interface)
        if interface is not None and interface.kind in {"physical", "virtual"}:
            return (route.interface, route.gateway, route.source or first_address(interface, route))
    carrying = set(snapshot.carriers.values())
    for name in _addressed(snapshot):
        if not carrying or name in carrying:
            interface = snapshot.interface(name)
            return (name, None, global_addresses(interface)[0]) if interface is not None else None
    return None


def carriers(old: Snapshot, new: Snapshot) -> dict[str, str]:
    """Return which interface carries each tunnel of the new snapshot, as far as the two snapshots show."""
    own = _own_default(new)
    # If a VPN took the default route, the interface that had that route before carries the VPN.
    before = _own_default(old)
    addressed = _addressed(new)
    first = before if before in addressed else next(iter(addressed), None)
    found: dict[str, str] = {}
    for tunnel in tunnels_up(new):
        carrier = own or old.carriers.get(tunnel) or first
        if carrier is not None:
            found[tunnel] = carrier
    return found


def tunnels_up(snapshot: Snapshot) -> frozenset[str]:
    """Return the names of the tunnels that are up."""
    return frozenset(i.name for i in snapshot.interfaces if i.kind == "vpn" and i.up)


def _own_default(snapshot: Snapshot) -> str | None:
    """Return the interface of the best default route that is not a tunnel's."""
    tunnels = tunnels_up(snapshot)
    return next((r.interface for r in snapshot.default_routes if r.interface not in tunnels), None)


def _addressed(snapshot: Snapshot) -> list[str]:
    return [i.name for i in snapshot.interfaces if i.kind == "physical" and i.up and global_addresses(i)]
