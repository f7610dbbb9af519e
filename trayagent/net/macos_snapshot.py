"""Read the network of a Mac without privileges: `polling` reads it, arp(8) and ndp(8) add the gateways.

Without the gateways' link-layer addresses, all networks with the gateway 192.168.1.1 would look the same.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable

from msgspec.structs import replace

from trayagent.core.facts.network import Lookup, Snapshot
from trayagent.net import polling

_QUERY_WITHIN_S = 1.0
_MAC = r"(?P<mac>[0-9a-f]{1,2}(?::[0-9a-f]{1,2}){5})"
# A line is: ? (192.168.1.1) at 0:1e:2a:3:4:5 on en0 ifscope [ethernet]
_ARP = re.compile(rf"\((?P<ip>[0-9.]+)\) at {_MAC} on (?P<name>\S+)")
# A line is: fe80::1%en0  0:1e:2a:3:4:5  en0  23h59m58s  S R
_NDP = re.compile(rf"^(?P<ip>[0-9a-f:]+)(?:%\S+)?\s+{_MAC}\s+(?P<name>\S+)", re.MULTILINE)


def read(lookups: Iterable[Lookup] = ()) -> Snapshot:
    """Return the parts of the network that can be read without privileges."""
    seen = polling.read(lookups)
    gateways = {route.gateway for route in seen.routes if route.gateway}
    found: dict[tuple[str, str], str] = {}
    if any(":" not in gateway for gateway in gateways):
        found |= neighbours(_query("arp", "-an"))
    if any(":" in gateway for gateway in gateways):
        found |= neighbours(_query("ndp", "-an"))
    return replace(seen, gateway_macs={key: mac for key, mac in found.items() if key[1] in gateways})


def neighbours(text: str) -> dict[tuple[str, str], str]:
    """Return (interface, address) -> link-layer address from the output of arp or ndp, in Linux's notation."""
    found = (*_ARP.finditer(text), *_NDP.finditer(text))
    return {(m["name"], m["ip"]): ":".join(part.zfill(2) for part in m["mac"].split(":")) for m in found}


def _query(*words: str) -> str:
    env = {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            words, env=env, capture_output=True, text=True, check=False, timeout=_QUERY_WITHIN_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
