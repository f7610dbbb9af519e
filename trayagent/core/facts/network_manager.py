"""What a network manager reports about VPNs, the network's name and connectivity; pure data."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

VpnState = Literal["up", "connecting", "needs-sign-in", "failed", "down"]
Connectivity = Literal["unknown", "none", "portal", "limited", "full"]

# The states from the most to the least usable. If several connections share a name, the most usable one counts.
_NEAREST_FIRST: tuple[VpnState, ...] = ("up", "connecting", "needs-sign-in", "failed", "down")


class VpnConnection(Struct, frozen=True):
    """One VPN connection. `name` is the user's name for it; `uuid` distinguishes connections with the same name.

    `interface` is None while the VPN is not up, and for a VPN without an interface of its own. `reason` is the
    manager's code for the reason of its end, or None if its end was not observed. `by_user`: the user took the VPN
    down. `needs_secret`: the manager currently waits for a secret, perhaps in a dialog that the user sees.
    """

    name: str
    uuid: str
    state: VpnState
    interface: str | None = None
    reason: int | None = None
    by_user: bool = False
    needs_secret: bool = False


class NetworkName(Struct, frozen=True):
    """The network's name: the connection's name and, for Wi-Fi, the SSID, with the interface of the connection."""

    connection: str
    ssid: str | None = None
    interface: str | None = None

    def __str__(self) -> str:
        return self.ssid or self.connection


class Link(Struct, frozen=True):
    """One interface with an active connection that is no VPN.

    `metered`: whether its traffic may cost money, None if that is unknown.
    """

    interface: str
    name: NetworkName
    metered: bool | None = None


class ManagerFacts(Struct, frozen=True):
    """All that a network manager reports at one moment; `running` False: no manager runs, and nothing is known.

    A VPN connection that is not listed is down, and its end was not observed.
    """

    running: bool = False
    connectivity: Connectivity = "unknown"
    network: NetworkName | None = None
    vpns: tuple[VpnConnection, ...] = ()
    links: tuple[Link, ...] = ()

    def link(self, interface: str) -> Link | None:
        """Return what the manager reports of an interface, None if it reports nothing."""
        return next((link for link in self.links if link.interface == interface), None)

    def vpn(self, name: str) -> VpnConnection | None:
        """Return the VPN connection of that name or UUID, or None."""
        found = [vpn for vpn in self.vpns if name in (vpn.name, vpn.uuid)]
        return min(found, key=lambda vpn: _NEAREST_FIRST.index(vpn.state), default=None)
