"""Define NetworkManager's numbers and names on D-Bus, and what they mean here; pure.

Source: NetworkManager's D-Bus API reference, "D-Bus Types" (NMActiveConnectionState,
NMActiveConnectionStateReason, NMVpnConnectionState, NMVpnPluginFailure).
"""

from __future__ import annotations

from trayagent.core.facts.network_manager import VpnState

NAME = "org.freedesktop.NetworkManager"
ROOT = "/org/freedesktop/NetworkManager"
SETTINGS = f"{ROOT}/Settings"
ACTIVE_PATHS = f"{ROOT}/ActiveConnection/"
DEVICE_PATHS = f"{ROOT}/Devices/"
# The object that reports when any object below it appears or vanishes.
OBJECTS = "/org/freedesktop"

ACTIVE = f"{NAME}.Connection.Active"
VPN = f"{NAME}.VPN.Connection"
DEVICE = f"{NAME}.Device"
ACCESS_POINT = f"{NAME}.AccessPoint"
PLUGIN = f"{NAME}.VPN.Plugin"
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"

# The connection types that are VPNs. To NetworkManager, WireGuard is a device and not a VPN plug-in.
WIREGUARD = "wireguard"
VPN_TYPES = frozenset({"vpn", WIREGUARD})
WIFI = "802-11-wireless"

LOOPBACK = "loopback"
# The values of NMMetered that say that traffic costs nothing: "no", and a guess for a network whose DHCP server and
# type do not point to a phone.
UNMETERED, METERED_UNKNOWN = frozenset({2, 4}), 0

ACTIVATING, ACTIVATED, DEACTIVATING, DEACTIVATED = 1, 2, 3, 4
NEED_AUTH = 2  # a value of NMVpnConnectionState
UNKNOWN, USER_DISCONNECTED, DEVICE_DISCONNECTED, SERVICE_STOPPED, NO_SECRETS, LOGIN_FAILED = 0, 2, 3, 4, 9, 10
PLUGIN_LOGIN_FAILED = 0

# With these reasons, the VPN did not fail. The VPN, its network or its device was removed (device disconnected,
# connection removed, dependency failed, device removed), or the VPN ended without a reason (1).
_TAKEN_AWAY = frozenset({1, USER_DISCONNECTED, DEVICE_DISCONNECTED, 11, 12, 14})


def ended_by_user(kind: str, reason: int) -> bool:
    """Report whether the user took down the VPN. `kind` is its connection type.

    If the user takes WireGuard down, NetworkManager reports its device as disconnected (measured with 1.42). No other
    cause disconnects that device, since WireGuard has no carrier and no session.
    """
    return reason == USER_DISCONNECTED or (kind == WIREGUARD and reason == DEVICE_DISCONNECTED)


def how_it_ended(reason: int, *, login_failed: bool) -> VpnState:
    """Return the state of a VPN that ended for this reason.

    `login_failed`: the VPN's plug-in reported that the server refused the login. If a secret agent supplied a wrong
    password, the reason is UNKNOWN, and only the plug-in reports the cause (measured with 1.42).
    """
    if reason in {NO_SECRETS, LOGIN_FAILED} or (reason == UNKNOWN and login_failed):
        return "needs-sign-in"
    return "down" if reason in _TAKEN_AWAY else "failed"
