"""Row 4: judges a master whose local address is gone; pure."""

from __future__ import annotations

from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Snapshot
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import (
    ADDRESS_GONE_S,
    ADRIFT_CHECK_S,
    ADRIFT_S,
    MPTCP_CHECK_S,
    MPTCP_JOIN_RTTS,
    MPTCP_JOIN_S,
    MPTCP_JOINS_SURE,
    READDRESSED_S,
)
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.mptcp import may_fail_on
from trayagent.core.policy.staleness.judge_control import control_of, stale_or_wait, start_or_await_control
from trayagent.core.policy.staleness.positive_control import is_positive
from trayagent.core.policy.staleness.verdict import (
    Verdict,
    living_master,
    observed_since,
    sooner,
    while_stopped,
)


def judge_lost_address(host: Host, state: State, admitted: Admission, gone_at: float, now: float) -> Verdict:
    """Return the verdict on a master whose address has been gone since `gone_at` (monotonic)."""
    evidence = Evidence.of(
        local=host.master.local if host.master else None,
        address="gone",
        gone_ms=f"{(now - gone_at) * 1e3:.0f}",
    )
    # The kernel may have moved the connection (MPTCP). Query the kernel again before anything is done.
    if not observed_since(host, gone_at):
        return Verdict(4, "observe", evidence)
    # A suspended ssh cannot restore its terminal, and no signal ends one in a frozen control group.
    beside = host.draining is not None and host.draining.beside is not None
    if beside and (suspended := while_stopped(host, evidence, now)) is not None:
        return suspended
    control, check_at = control_of(host), None
    if control is None and (joins := _joining(host, admitted, gone_at, evidence, now)) is not None:
        return joins
    begun_at = max(gone_at, control.started_at) if control is not None else gone_at
    if _adrift(host, admitted, now) and now < begun_at + ADRIFT_S:
        check_at = min(now + ADRIFT_CHECK_S, begun_at + ADRIFT_S)
        if not observed_since(host, now - ADRIFT_CHECK_S):
            return Verdict(4, "observe", evidence)
    if control is None or not is_positive(control, host):
        verdict = start_or_await_control(host, state, admitted, 4, evidence, now)
        return sooner(verdict, check_at)
    if check_at is not None:
        return Verdict(4, "wait", evidence.plus(adrift="yes"), check_at=check_at)
    readdressed = _gets_address(host, state.snapshot)
    due_at = gone_at + (READDRESSED_S if readdressed else ADDRESS_GONE_S)
    if now < due_at:
        evidence = evidence.plus(interface="no_address") if readdressed else evidence
        return Verdict(4, "wait", evidence, check_at=due_at)
    if not observed_since(host, max(control.positive_at or now, due_at)):
        return Verdict(4, "observe", evidence)
    return stale_or_wait(host, control, evidence)


def _joining(
    host: Host, admitted: Admission, gone_at: float, evidence: Evidence, now: float
) -> Verdict | None:
    """Return the verdict to wait until a connection by Multipath TCP has joined from the new address, else None.

    On a network where such a connection never worked, the control begins at once: a middlebox may be in the way.
    """
    master, route = living_master(host), admitted.route
    if not master.mptcp or _may_be_refused(master) or route is None:
        return None
    if not any(network.matches(route.network) for network in host.mptcp.works_on):
        return None
    since = host.outage.began_at if host.outage.began_at is not None else gone_at
    until = max(since, gone_at) + max(MPTCP_JOIN_S, MPTCP_JOIN_RTTS * master.rtt_s)
    if now >= until:
        return None
    if not observed_since(host, now - MPTCP_CHECK_S):
        return Verdict(4, "observe", evidence)
    evidence = evidence.plus(adrift="yes", mptcp="yes")
    return Verdict(4, "wait", evidence, check_at=min(now + MPTCP_CHECK_S, until))


def _adrift(host: Host, admitted: Admission, now: float) -> bool:
    """Report whether the kernel shows no connection of the master, and may still move it to another address."""
    observed, route = host.doubt.observed, admitted.route
    if observed is None or not observed.adrift or _may_be_refused(living_master(host)):
        return False
    return route is None or not may_fail_on(host.mptcp, route.network, now)


def _may_be_refused(master: Master) -> bool:
    """Report whether many servers would refuse this connection's next move."""
    return master.mptcp and master.joins == MPTCP_JOINS_SURE


def _gets_address(host: Host, snapshot: Snapshot) -> bool:
    """Report whether the interface that had the address is up, is no tunnel, and has no address in its place yet."""
    bearer = host.doubt.left.path.bearer if host.doubt.left is not None else None
    found = next((i for i in snapshot.interfaces if i.name == bearer), None)
    # A new session of a VPN has another address, as a rule.
    if found is None or found.kind == "vpn" or not found.up:
        return False
    return all(address.link_local for address in found.addresses)
