"""Describe a host's standby, from its `standby` and `no_standby` in `status --json`; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trayagent.presentation.translation import _, to_translate

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any


def standby_lines(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield "standby on wlan0 ready" if the host has a standby. An older agent reports none."""
    standby = host.get("standby")
    if standby is not None and standby["ready"]:
        yield _("standby on {interface} ready").format(interface=standby["interface"])


def no_standby_lines(host: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a host with `standby = true` has no standby."""
    words = _OBSTACLES.get(str(host.get("no_standby")))
    if words is not None:
        yield _("No standby: {reason}").format(reason=_(words))


_OBSTACLES = {
    "off": to_translate("you disconnected the host"),
    "not-always": to_translate('it needs connect = "always"'),
    "not-connected": to_translate("the host is not connected"),
    "not-started-by-agent": to_translate("you started its connection"),
    "needs-user": to_translate("its login needs you"),
    "not-direct": to_translate("its connection leads through a jump host or a command"),
    "shared": to_translate("it uses the connection of another host"),
    "vpn": to_translate("it needs a VPN"),
    "tunnel": to_translate("a tunnel is up that may have to carry it"),
    "one-network": to_translate("there is no second network"),
    "metered": to_translate("the second network is or may be metered"),
    "policy-routing": to_translate("the routes would not lead through the second network"),
    "network": to_translate("the host may not be connected on the second network"),
    "refused": to_translate("the server refused its login"),
}
