"""Finds the addresses of interfaces; pure."""

from __future__ import annotations

from trayagent.core.facts.network import Interface, Route


def global_addresses(interface: Interface) -> tuple[str, ...]:
    """Return the addresses of an interface that are valid beyond its own link."""
    return tuple(a.ip for a in interface.addresses if not a.link_local)


def first_address(interface: Interface, route: Route) -> str | None:
    """Return the first address that is valid beyond the link and has the route's address family, or None."""
    want6 = ":" in route.prefix
    return next((ip for ip in global_addresses(interface) if (":" in ip) == want6), None)
