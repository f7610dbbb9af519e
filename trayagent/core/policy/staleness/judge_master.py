"""Judges a living master by the table of docs/architecture.md, row by row; pure.

`judge` only reads facts, so it may be called at any time and any number of times. Events change the facts, and the
verdict follows from them.
"""

from __future__ import annotations

from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import WOKEN_S
from trayagent.core.policy.admission import Admission, admission
from trayagent.core.policy.begin_attempt import control_possible
from trayagent.core.policy.logins.login_waits import Wait
from trayagent.core.policy.mptcp import beside_tunnel
from trayagent.core.policy.staleness.judge_by_probe import judge_by_probe
from trayagent.core.policy.staleness.judge_control import control_of, stale_or_wait, start_or_await_control
from trayagent.core.policy.staleness.judge_lost_address import judge_lost_address
from trayagent.core.policy.staleness.positive_control import is_positive
from trayagent.core.policy.staleness.silence_limits import kept_offline_until
from trayagent.core.policy.staleness.verdict import (
    Verdict,
    control_queued,
    living_master,
    observed_since,
    sooner,
)
from trayagent.core.usable_routes import usable_interface


def judge(host: Host, state: State, admitted: Admission, now: float) -> Verdict:
    """Return the verdict on the host's living master.

    Raises ValueError if the host has no master.
    """
    master = living_master(host)
    if admitted.open and host.draining is None and (master.muted or beside_tunnel(master, state.snapshot)):
        return _replace_beside_tunnel(host, state, admitted, now)
    if (kept := _kept(host, state)) is not None:
        return kept
    if not admitted.open:
        return _offline(host, state, admitted, now)
    if host.draining is not None:  # a draining master accepts no probe, so judge only the loss of its address
        if host.doubt.gone_at is None:
            return Verdict(6, "keep", Evidence.of(socket="none"))
        return judge_lost_address(host, state, admitted, host.doubt.gone_at, now)
    carrier = _carrier(master, state, now)
    if carrier is not None and carrier.suspect:
        evidence = Evidence.of(carrier=carrier.name, carrier_suspect="yes")
        may_last = _may_last(carrier, state, now)
        wait = Wait("jump", evidence, jump=carrier.name) if may_last else None
        return Verdict(5, "wait", evidence, queued=may_last, wait=wait)
    control = control_of(host)
    if host.doubt.wary_at > host.doubt.proof_at and (control is None or control.established_at is None):
        due_at = host.doubt.wary_at + WOKEN_S
        evidence = Evidence.of(woken_or_underlay="changed")
        if control_possible(host, admitted):
            first = start_or_await_control(host, state, admitted, 3, evidence, now)
            return _without_control(host, state, admitted, first, now) if first.queued else first
        if now < due_at:
            return control_queued(
                3,
                Evidence.of(woken_or_underlay="changed"),
                Wait("control", Evidence.of(control="impossible"), due_at),
            )
    return _by_own_connection(host, state, admitted, now)


def _kept(host: Host, state: State) -> Verdict | None:
    """Return the verdict on a master that is not in doubt, or that the agent only shows, else None."""
    if not host.suspect:
        return Verdict(6, "keep", Evidence.of(proof="current"))
    if host.draining is not None and host.draining.beside is not None and not state.end_beside:
        return Verdict(6, "keep", Evidence.of(beside="shown"))
    return None


def _replace_beside_tunnel(host: Host, state: State, admitted: Admission, now: float) -> Verdict:
    """Rows 3 and 9: a tunnel came up under a connection that may go beside it. Replace it by one in the tunnel."""
    why = "muted" if living_master(host).muted else "mptcp"
    evidence, control = Evidence.of(tunnel="carries", **{why: "yes"}), control_of(host)
    if control is not None and is_positive(control, host):
        return stale_or_wait(host, control, evidence)
    return start_or_await_control(host, state, admitted, 3, evidence, now)


def _without_control(host: Host, state: State, admitted: Admission, queued: Verdict, now: float) -> Verdict:
    """Row 3 while no control can be made: probe the old connection in the meantime."""
    verdict = _by_own_connection(host, state, admitted, now)
    if verdict.do != "wait":
        return verdict
    return sooner(verdict, queued.check_at)


def _by_own_connection(host: Host, state: State, admitted: Admission, now: float) -> Verdict:
    """Rows 4 to 9: judge by the old connection itself."""
    if host.doubt.gone_at is not None:
        return judge_lost_address(host, state, admitted, host.doubt.gone_at, now)
    return judge_by_probe(host, state, admitted, now)


def _carrier(master: Master, state: State, now: float) -> Host | None:
    """Return the host whose master carries the judged master. Return None if the agent does not judge that host."""
    carrier = state.host_of_pid(master.carrier) if master.carrier is not None else None
    if carrier is None or carrier.draining is not None or carrier.wish.connect == "never":
        return None
    if state.paused(carrier, now):
        return None
    return carrier


def _may_last(carrier: Host, state: State, now: float) -> bool:
    """Report whether the verdict on a carrier may take long. It comes soon if the carrier is only being probed."""
    if carrier.attempt is not None or carrier.problem is not None:
        return True
    return judge(carrier, state, admission(carrier, state), now).queued


def _has_route(host: Host, state: State) -> bool:
    """Report whether the master's own connection has a route, although a new login has none or is not allowed here.

    A rule of the kernel may route packets from the master's own address only.
    """
    path = host.path
    if path is None or path.egress is None or not (path.present and path.carrier):
        return False
    answered = path.bearer == path.egress or not path.source_differs
    return answered and usable_interface(state.snapshot, path.egress, host.reached.interfaces)


def _offline(host: Host, state: State, admitted: Admission, now: float) -> Verdict:
    """Row 2: end the master if it has had no route for `keep_while_offline`, and no data came meanwhile."""
    if host.draining is not None:
        return Verdict(2, "offline", admitted.evidence)  # the draining master's sessions wait for the network
    since = host.outage.offline_since if host.outage.offline_since is not None else now
    # A connection that had a route until its path changed is offline only since then.
    since = max(since, host.doubt.changed_at if host.doubt.gone_at is None else host.doubt.gone_at)
    end_at = kept_offline_until(since, state)
    if now >= end_at and (admitted.unidentified or _has_route(host, state)):
        return Verdict(2, "offline", admitted.evidence)  # the laptop may be on the master's own network
    seen = host.doubt.observed
    heard_at = seen.heard_at if seen is not None and seen.heard_at is not None else since
    end_at = max(end_at, kept_offline_until(heard_at, state))
    if now >= end_at and not observed_since(host, end_at):
        return Verdict(2, "observe", admitted.evidence)
    if now >= end_at:
        return Verdict(2, "end", admitted.evidence.plus(offline_s=f"{now - since:.0f}"))
    return Verdict(2, "offline", admitted.evidence, check_at=end_at)
