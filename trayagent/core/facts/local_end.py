"""The end of a forward on this machine, as other programs address it; pure."""

from __future__ import annotations

from trayagent.core.facts.forwards import End, Forward

HTTPS = frozenset({443, 8443, 9443})
ALL_INTERFACES = frozenset({"*", "0.0.0.0", "::"})  # noqa: S104  # compared, not bound
LOOPBACK = frozenset({"", "127.0.0.1", "::1", "localhost"})


def end_text(end: End) -> str:
    """Return an end as ssh writes it: a path, a port, or an address and a port."""
    if end.path is not None:
        return end.path
    host = f"[{end.host}]" if ":" in end.host else end.host
    return f"{host}:{end.port}" if host else str(end.port)


def local_address(forward: Forward) -> str | None:
    """Return the address to which a program on this machine connects, or None for a remote forward."""
    if forward.kind == "remote":
        return None
    listen = forward.listen
    if listen.path is not None:
        return listen.path
    address = f"localhost:{listen.port}"  # localhost suits certificates and cookies best
    if listen.host not in LOOPBACK | ALL_INTERFACES:
        address = end_text(listen)
    return f"socks5h://{address}" if forward.target is None else address


def local_url(forward: Forward) -> str | None:
    """Return the address for a browser, or None if the forward cannot lead to a web server."""
    address, target = local_address(forward), forward.target
    if address is None or target is None or target.path is not None or forward.listen.path is not None:
        return None
    scheme = "https" if HTTPS & {target.port, forward.listen.port} else "http"
    return f"{scheme}://{address}"


def forward_text(forward: Forward) -> str:
    """Return a forward in one line, for example "8080 → localhost:80", without the machine on which it listens."""
    listens = end_text(forward.listen)
    return f"{listens} → {end_text(forward.target)}" if forward.target else f"SOCKS {listens}"
