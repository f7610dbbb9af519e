"""Row 4: judges a master whose local address is gone; pure."""

from __future__ import annotations

from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network import Snapshot
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import ADDRESS_GONE_S, ADRIFT_CHECK_S, ADRIFT_S, READDRESSED_S
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.staleness.judge_control import control_of, stale_or_wait, start_or_await_control
from trayagent.core.policy.staleness.positive_control import is_positive
from trayagent.core.policy.staleness.verdict import Verdict, observed_since, sooner, while_stopped


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
    begun_at = max(gone_at, control.started_at) if control is not None else gone_at
    if host.doubt.observed is not None and host.doubt.observed.adrift and now < begun_at + ADRIFT_S:
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


def _gets_address(host: Host, snapshot: Snapshot) -> bool:
    """Report whether the interface that had the address is up, is no tunnel, and has no address in its place yet."""
    bearer = host.doubt.left.path.bearer if host.doubt.left is not None else None
    found = next((i for i in snapshot.interfaces if i.name == bearer), None)
    # A new session of a VPN has another address, as a rule.
    if found is None or found.kind == "vpn" or not found.up:
        return False
    return all(address.link_local for address in found.addresses)
