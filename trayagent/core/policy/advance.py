"""Turns the facts of one host into actions: judge the old master, or make a new one; pure.

`advance` does steps until one changes nothing. Then the host is settled: a further step would do nothing, because the
facts show which actions are already in progress (a probe, an attempt).
"""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import SetTimer
from trayagent.core.facts.hosts import Host
from trayagent.core.policy import connect_host as absent
from trayagent.core.policy.admission import Admission, admission
from trayagent.core.policy.attach_by_port import carried_by_port, move_to_port
from trayagent.core.policy.begin_attempt import give_up_attempt
from trayagent.core.policy.carry_earlier_inner import carry
from trayagent.core.policy.identify_network import identify_network
from trayagent.core.policy.limits_beside_master import left_alone
from trayagent.core.policy.settled import Basis, settle
from trayagent.core.policy.shared_connection import judging_owner
from trayagent.core.policy.staleness import act_on_verdict as living
from trayagent.core.policy.standby import put_spare_in_place, tend
from trayagent.core.policy.wanted_connection import wanted

_ROUNDS = 8  # without an event in between, no chain of steps is longer than five


def advance(context: Context, name: str) -> None:
    """Do every step for one host that its facts allow, and set its timer for the next step."""
    check_at: float | None = None
    known: Basis | None = context.hosts.settled.get(name)
    for _ in range(_ROUNDS):
        host, before, context.asked = context.get(name), context.hosts.version, False
        if host is None:
            return
        with context.hosts.noted() as reads:
            check_at = _step(context, host)
        if context.hosts.version is before:
            settle(context, host, reads, check_at, asked=context.asked)
            break
    if known is None or known.timer_at != check_at:
        context.do(SetTimer(name, check_at))


def _step(context: Context, host: Host) -> float | None:
    """Do the next step. Return when to continue, None if no time is known."""
    now, state = context.now, context.state
    if host.draining is not None and host.draining.roamed:
        return carry(context, host, host.draining)
    admitted = admission(host, state, by_user=host.by_user)
    host = _note_network(context, host, admitted)
    paused = state.paused(host, now) and not host.by_user
    host, standby_at = tend(context, host, paused=paused)
    if paused:
        owed_at = living.finish(context, give_up_attempt(context, host))
        ends = (state.paused_until, host.user.paused_until, owed_at)
        return min((t for t in ends if t is not None and t > now), default=None)
    if left_alone(host, state.hosts) and not host.by_user:
        return living.finish(context, give_up_attempt(context, host))
    if host.attempt is not None and host.attempt.taking_over:
        return None
    host = _note_route(context, host, admitted)
    waits, place_at = put_spare_in_place(context, host)
    if waits:
        return place_at
    read_at = identify_network(context, host, admitted)
    port_at = move_to_port(context, host, admitted)
    host = context.get(host.name) or host
    owner = judging_owner(host, state, now)
    if host.master is not None and owner is not None:
        return living.follow(context, host, owner, host.master)
    if host.master is not None:
        check_at = living.step(context, host, host.master, admitted)
    else:
        check_at = absent.step(context, host, admitted)
    due = (check_at, read_at, port_at, standby_at)
    return min((at for at in due if at is not None), default=None)


def _note_network(context: Context, host: Host, admitted: Admission) -> Host:
    """Add up how long a host that is missed has no usable network, until its connection is beyond doubt again.

    A VPN that is down or a captive portal does not count, because the network is there.
    """
    outage, now = host.outage, context.now
    since = outage.no_network_since
    away = host.master is None and wanted(host) and not carried_by_port(host, admitted)
    missed = host.suspect if host.master is not None else away
    if missed and admitted.code == "unreachable":
        return host if since is not None else context.put(host, outage=replace(outage, no_network_since=now))
    if since is None and (missed or not outage.no_network_s):
        return host
    total_s = outage.no_network_s + (now - since) if missed and since is not None else 0.0
    return context.put(host, outage=replace(outage, no_network_since=None, no_network_s=total_s))


def _note_route(context: Context, host: Host, admitted: Admission) -> Host:
    """Note since when the host has had no route, or since when a host that is away or in doubt has a route again.

    A host whose master is beyond doubt is not offline, even where no login may begin, such as behind a captive portal.
    """
    now = context.now
    well = not host.suspect if host.master is not None else carried_by_port(host, admitted)
    if not admitted.open and not well:
        if host.outage.offline_since is not None:
            return host
        return context.put(host, outage=replace(host.outage, offline_since=now, began_at=None))
    if host.outage.offline_since is not None:
        host = context.put(host, outage=replace(host.outage, offline_since=None))
    if well and host.outage.began_at is not None:
        return context.put(host, outage=replace(host.outage, began_at=None))
    if not well and host.outage.began_at is None and (host.master is not None or wanted(host)):
        return context.put(host, outage=replace(host.outage, began_at=now))
    return host
