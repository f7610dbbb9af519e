"""Derives the state of a VPN from its interface, the network manager's report and its hosts; pure.

A tunnel that is up proves nothing: its server may be gone while interface, address and routes remain. Therefore the
state also depends on whether the hosts behind the VPN answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Literal

from msgspec.structs import replace

from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network_manager import VpnConnection
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import SECRET_ENTRY_S
from trayagent.core.facts.vpns import VpnObservation
from trayagent.core.tunnel_underlay import underlay

VpnDisplayState = Literal["up", "down", "connecting", "needs-sign-in"]

_NO_ANSWER: frozenset[FailureKind] = frozenset({"timed-out", "unreachable"})


def vpn_display_state(state: State, name: str, now: float) -> VpnDisplayState:
    """Return the state that status, menu and notifications show."""
    report = manager_report(state, name)
    if vpn_interface_up(state, name) is not None or (report is not None and report.state == "up"):
        return "needs-sign-in" if silent_behind(state, name) else "up"
    if report is not None and report.by_user:
        return "down"
    if report is not None and report.state == "needs-sign-in":
        return "needs-sign-in"
    due = sign_in_due(state, name)
    if due is not None and due <= now:
        return "needs-sign-in"
    return "connecting" if _connecting(state, name) else "down"


def vpn_interface_up(state: State, name: str) -> str | None:
    """Return the name of a VPN's interface (configured or learned) if the interface is up, else None."""
    report = manager_report(state, name)
    named = report.interface if report is not None and report.state == "up" else None
    interface = state.vpn_interface(name) or state.snapshot.interface(named or name)
    return interface.name if interface is not None and interface.up and interface.addresses else None


def usable_vpn(state: State, name: str) -> bool:
    """Report whether connections through this configured VPN may be tried."""
    vpn = next((v for v in state.vpns if v.name == name), None)
    if vpn is not None and vpn.interface is None:
        report = manager_report(state, name)
        return report is not None and report.state == "up"
    return state.vpn_interface(name) is not None


def manager_report(state: State, name: str) -> VpnConnection | None:
    """Return the network manager's report on a configured VPN, or None if there is no report."""
    vpn = next((v for v in state.vpns if v.name == name), None)
    if vpn is None or vpn.networkmanager is None or not state.manager.running:
        return None
    return state.manager.vpn(vpn.networkmanager)


def observed_vpns(state: State, now: float) -> dict[str, VpnObservation]:
    """Return the record of each VPN, updated with what is known now."""
    found: dict[str, VpnObservation] = {}
    network_works = underlay(state.snapshot) is not None and state.manager.connectivity != "portal"
    for vpn in state.vpns:
        observed = state.vpn_observations.get(vpn.name, VpnObservation())
        report = manager_report(state, vpn.name)
        if usable_vpn(state, vpn.name):
            found[vpn.name] = VpnObservation(was_up=True)
        elif report is not None and report.by_user:
            found[vpn.name] = VpnObservation()  # the user took the VPN down, so it is not missed
        elif not network_works:
            found[vpn.name] = VpnObservation(observed.was_up)
        else:
            missed_at = observed.missed_at if observed.missed_at is not None else now
            needs_secret = report is not None and report.needs_secret
            found[vpn.name] = replace(
                observed,
                missed_at=missed_at,
                connecting_at=_connecting_at(state, vpn.name, observed, now),
                needs_secret=needs_secret,
            )
    return found


def _connecting_at(state: State, name: str, observed: VpnObservation, now: float) -> float | None:
    report = manager_report(state, name)
    if report is not None and report.state == "needs-sign-in":
        return None  # if the VPN connects later, that counts as another try
    answered = observed.needs_secret and report is not None and not report.needs_secret
    begins = observed.connecting_at is None or answered
    return now if begins and _connecting(state, name) else observed.connecting_at


def sign_in_due(state: State, name: str) -> float | None:
    """Return when the user must sign in to a VPN that has not come back automatically, or None if it is not missed.

    That is `grace_s` after the VPN was missed, or after it began to connect. A VPN that is connecting may wait forever
    for a silent server. While the network manager asks for a secret, the user gets extra time to see the dialog.
    """
    vpn = next((v for v in state.vpns if v.name == name), None)
    observed = state.vpn_observations.get(name)
    if vpn is None or observed is None or observed.missed_at is None:
        return None
    report = manager_report(state, name)
    failed = report is not None and report.state == "failed"
    if observed.connecting_at is not None and (failed or _connecting(state, name)):
        return observed.connecting_at + (
            max(vpn.grace_s, SECRET_ENTRY_S) if observed.needs_secret else vpn.grace_s
        )
    return observed.missed_at + vpn.grace_s if observed.was_up or failed else None


def _connecting(state: State, name: str) -> bool:
    """Report whether a VPN is coming up: its manager reports that, or its interface exists without an address."""
    report = manager_report(state, name)
    if report is not None and report.state == "connecting":
        return True
    vpn = next((v for v in state.vpns if v.name == name), None)
    if vpn is None or vpn.interface is None:
        return False
    found = [i for i in state.snapshot.interfaces if i.up and fnmatchcase(i.name, vpn.interface)]
    return bool(found) and not any(a for i in found for a in i.addresses if not a.link_local)


def silent_behind(state: State, name: str) -> bool:
    """Report whether a VPN is up and carries nothing: no host behind it answers, while other connections work."""
    behind = [h for h in _behind(state, name) if h.master is not None or h.retry.kind is not None]
    if not behind or not all(_unanswered(h) for h in behind):
        return False
    others = (h for h in state.hosts.values() if name not in {h.wish.vpn, h.reached.learned_vpn})
    return state.manager.connectivity == "full" or any(h.master is not None and not h.suspect for h in others)


def _behind(state: State, name: str) -> Iterator[Host]:
    hosts = (h for h in state.hosts.values() if h.draining is None)
    return (h for h in hosts if h.wish.vpn == name and not h.user.held)


def _unanswered(host: Host) -> bool:
    """Report whether the last attempt to this host got no answer, and the host has no master beyond doubt."""
    return (host.master is None or host.suspect) and host.retry.kind in _NO_ANSWER and host.retry.count > 0
