"""Summarize the whole view: in one word for the icon, in one line for the menu's first line and the tooltip; pure.

The view is the dict of `status --json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from trayagent.presentation.states import NEEDS_USER, NOT_WANTED, WORKING
from trayagent.presentation.translation import _, ngettext, to_translate

Overall = Literal[
    "all-connected",
    "some-connected",
    "working",
    "offline",
    "needs-you",
    "paused",
    "nothing-to-do",
]
OVERALLS: tuple[Overall, ...] = get_args(Overall)

OVERALL_WORDS: Mapping[Overall, str] = {
    "all-connected": to_translate("all connected"),
    "some-connected": to_translate("not everything is connected"),
    "working": to_translate("connecting"),
    "offline": to_translate("offline"),
    "needs-you": to_translate("you are needed"),
    "paused": to_translate("paused"),
    "nothing-to-do": to_translate("nothing to connect"),
}
"""The state of the icon in words, for the icon's title and for screen readers. `overall_words` translates them."""

View = Mapping[str, Any]


def overall(view: View) -> Overall:
    """Return the state of the icon; the most urgent condition wins."""
    wanted = [host["state"] for host in wanted_hosts(view)]
    if view["agent"]["paused"]:
        return "paused"
    if not wanted and rejected(view) is None:
        return "paused" if view["hosts"] and _any_paused(view) else "nothing-to-do"
    connected = wanted.count("connected")
    if not view["network"]["online"] and not connected:
        return "offline"  # report this before problems: without a network the user cannot fix them
    if needs_you(view):
        return "needs-you"
    if WORKING.intersection(wanted):
        return "working"
    if connected:
        whole = connected == len(wanted) and not forwards_not_open(view)
        return "all-connected" if whole else "some-connected"
    return "working" if "waiting" in wanted else "offline"


def overall_words(state: Overall) -> str:
    """Return the state of the icon in the user's language."""
    return _(OVERALL_WORDS[state])


def headline(view: View) -> str:
    """Return one line about the whole view, for example "3 of 4 connected · wlan0"."""
    return " · ".join(_parts(view))


def count(view: View) -> Iterator[str]:
    """Yield for example "3 of 4 connected", which counts the wanted hosts. Yield nothing while everything is paused."""
    wanted = wanted_hosts(view)
    if wanted:
        connected = sum(host["state"] == "connected" for host in wanted)
        yield _("{connected} of {wanted} connected").format(connected=connected, wanted=len(wanted))
    elif not view["agent"]["paused"]:
        yield _("Nothing to connect")


def wanted_hosts(view: View) -> list[Mapping[str, Any]]:
    """Return the hosts that should be connected."""
    return [host for host in view["hosts"] if host["state"] not in NOT_WANTED]


def needs_you(view: View) -> bool:
    """Report whether a host, a VPN or the configuration waits for the user."""
    return (
        any(host_needs_you(host) for host in view["hosts"])
        or bool(vpns_to_sign_in(view))
        or rejected(view) is not None
    )


def rejected(view: View) -> str | None:
    """Return why the agent rejected the configuration file, or None. An older agent does not report this."""
    return view["agent"].get("config_error") or None


def host_needs_you(host: Mapping[str, Any]) -> bool:
    """Report whether this host waits for the user: for a login, a decision, or the page of a captive portal."""
    if host["state"] in NEEDS_USER:
        return True
    problem = host["problem"]
    return problem is not None and problem["code"] == "captive-portal" and host["state"] not in NOT_WANTED


def lacks(host: Mapping[str, Any]) -> str:
    """Return which part of a connected host is missing, such as "a forward is not open"; "" if no part is."""
    return _not_open(_failed_forwards(host))


def forwards_not_open(view: View) -> str:
    """Return what `lacks` returns, for the forwards of all connected hosts together."""
    return _not_open(sum(_failed_forwards(host) for host in view["hosts"]))


def _failed_forwards(host: Mapping[str, Any]) -> int:
    """Return how many forwards of a connected host failed. Without a connection, no forward can be open."""
    if host["state"] != "connected":
        return 0
    return sum(forward["state"] == "failed" for forward in host["forwards"])


def _not_open(number: int) -> str:
    if not number:
        return ""
    return ngettext("a forward is not open", "{count} forwards are not open", number).format(count=number)


def vpns_to_sign_in(view: View) -> list[Mapping[str, Any]]:
    """Return the VPNs that need a sign-in by the user, and for which a wanted host waits."""
    wanted = {host["name"] for host in wanted_hosts(view)}
    return [v for v in view["vpns"] if v["state"] == "needs-sign-in" and wanted.intersection(v["hosts"])]


def _any_paused(view: View) -> bool:
    return any(host["state"] == "paused" for host in view["hosts"])


def _parts(view: View) -> Iterator[str]:
    if view["hosts"]:
        yield from count(view)
    else:
        yield _("No hosts yet")
    if lacking := forwards_not_open(view):
        yield lacking
    if view["agent"]["paused"]:
        yield _("paused")
    elif paused := sum(host["state"] == "paused" for host in view["hosts"]):
        yield ngettext("{count} paused", "{count} paused", paused).format(count=paused)
    yield _network(view["network"])


def _network(network: Mapping[str, Any]) -> str:
    if not network["online"]:
        return _("no network")
    default = network["default"]
    interface = default["interface"] if default else None
    name = network["name"]
    return f"{name} ({interface})" if name and interface else name or interface or _("online")
