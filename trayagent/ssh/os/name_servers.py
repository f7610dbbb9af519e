"""Read the name servers of this machine. Source: resolv.conf(5)."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address
from pathlib import Path

RESOLV_CONF = Path("/etc/resolv.conf")
DNS_PORT = 53
_DEFAULT = frozenset({"127.0.0.1", "::1"})  # without any line


def is_name_server(address: str, port: int) -> bool:
    """Report whether a socket that is connected to this end only resolves names."""
    if port != DNS_PORT:
        return False
    found = set[str]()
    with contextlib.suppress(OSError):
        for line in RESOLV_CONF.read_text(errors="replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                found.add(_plain(words[1]))
    return _plain(address) in (found or _DEFAULT)


def _plain(address: str) -> str:
    """Return the shortest form of an address without its interface, "" for anything else."""
    try:
        parsed = ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if parsed.version == 6 else None
    return str(mapped or parsed)
