"""What a network manager says about VPNs, the network's name and the way to the internet; pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VpnState = Literal["up", "connecting", "needs-sign-in", "failed", "down"]
Connectivity = Literal["unknown", "none", "portal", "limited", "full"]

# Of several connections with one name, the one that is nearest to being useful speaks for it.
_NEAREST_FIRST: tuple[VpnState, ...] = ("up", "connecting", "needs-sign-in", "failed", "down")


@dataclass(frozen=True, slots=True)
class VpnConnection:
    """One VPN connection: `name` is what the user calls it, `uuid` tells it from another of that name.

    `interface` is None while it is not up, and for a VPN without an interface of its own.
    `reason` is the manager's number for why it ended, None where nobody saw it end.
    `by_user`: somebody took it down on purpose. `asking`: the manager waits for a secret
    just now, perhaps in a dialog that the user sees.
    """

    name: str
    uuid: str
    state: VpnState
    interface: str | None = None
    reason: int | None = None
    by_user: bool = False
    asking: bool = False


@dataclass(frozen=True, slots=True)
class NetworkName:
    """What the network is called: the connection's name and, of a Wi-Fi, its SSID; and where it is."""

    connection: str
    ssid: str | None = None
    interface: str | None = None

    def __str__(self) -> str:
        return self.ssid or self.connection


@dataclass(frozen=True, slots=True)
class ManagerFacts:
    """All that a network manager says at one moment; `running` False: it is not there, nothing is known.

    A VPN connection that is not listed is down, and was not seen to end.
    """

    running: bool = False
    connectivity: Connectivity = "unknown"
    network: NetworkName | None = None
    vpns: tuple[VpnConnection, ...] = ()

    def vpn(self, name: str) -> VpnConnection | None:
        """Return the VPN connection of that name or UUID, or None."""
        found = [vpn for vpn in self.vpns if name in (vpn.name, vpn.uuid)]
        return min(found, key=lambda vpn: _NEAREST_FIRST.index(vpn.state), default=None)
