"""Detect a captive portal, as NetworkManager's check of the internet connection reports it.

The agent makes no check of its own, because a check would send packets from a network that the user may not trust.
`core/policy/admission.py` decides what a portal means for a host.

Source: NetworkManager's D-Bus API, NMConnectivityState.
"""

from __future__ import annotations

from trayagent.core.facts.network_manager import Connectivity

_NM_CONNECTIVITY: dict[int, Connectivity] = {1: "none", 2: "portal", 3: "limited", 4: "full"}


def connectivity(number: int | None) -> Connectivity:
    """Return the word for NetworkManager's property Connectivity: "portal" behind a captive portal."""
    return _NM_CONNECTIVITY.get(number or 0, "unknown")
