"""Finds the default routes and the addresses of interfaces; pure."""

from __future__ import annotations

from trayagent.core.facts.network import Interface, Route, Snapshot


def default_routes(snapshot: Snapshot) -> tuple[Route, ...]:
    """Return the default routes whose interface is up, best metric first; device routes count."""
    found = [r for r in snapshot.routes if r.prefix_len == 0 and is_up(snapshot, r.interface)]
    return tuple(sorted(found, key=lambda r: (":" in r.prefix, r.metric)))


def is_up(snapshot: Snapshot, name: str) -> bool:
    """Report whether the interface exists and is up."""
    interface = snapshot.interface(name)
    return interface is not None and interface.up


def global_addresses(interface: Interface) -> tuple[str, ...]:
    """Return the addresses of an interface that mean something beyond its link."""
    return tuple(a.ip for a in interface.addresses if not a.link_local)


def first_address(interface: Interface, route: Route) -> str | None:
    """Return the first such address in the family of the route, or None."""
    want6 = ":" in route.prefix
    return next((ip for ip in global_addresses(interface) if (":" in ip) == want6), None)
