"""Decides which outer master carries an inner master that lost the user's control path; pure.

Its own outer master carries it, until the host it belonged to has an outer master again. The agent does not judge its
own outer master, and ends it once another one carries the link. If its own outer master loses its address or is silent
while a session sends data, the agent connects that host again, even an on-use host.
"""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import AttachRoaming
from trayagent.core.facts.draining import Draining
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.policy.staleness.end_idle_draining import end_if_idle


def carry(context: Context, host: Host, draining: Draining) -> float | None:
    """Do what the sessions of an earlier inner master need next. Return when to continue."""
    roaming = host.roaming
    if roaming is None or roaming.ending:
        return None
    idle_at = end_if_idle(context, host, roaming.inner)
    host = context.get(host.name) or host
    roaming = host.roaming
    if roaming is None or roaming.ending:
        return None
    note_need(context, draining.owner)
    due = (_attach(context, host, draining), idle_at)
    return min((at for at in due if at is not None), default=None)


def note_need(context: Context, name: str) -> None:
    """Note whether open sessions of this host's earlier inner masters need its next outer master.

    Then the host is connected, within all limits of its logins.
    """
    owner = context.get(name)
    if owner is None:
        return
    awaited = owner.master is None and any(_waits(context, host) for host in context.state.draining(name))
    if awaited != owner.awaited:
        context.put(owner, awaited=awaited)


def _waits(context: Context, host: Host) -> bool:
    roaming, draining = host.roaming, host.draining
    if roaming is None or roaming.ending or draining is None or draining.idle_at is not None:
        return False
    return not _works(context, host, draining)


def _works(context: Context, host: Host, draining: Draining) -> bool:
    """Report whether nothing shows that the outer master of an earlier inner one cannot carry the link."""
    holder = holder_of_outer(context, host, draining)
    if holder is None or holder.doubt.gone_at is not None or holder.doubt.silent_at > holder.doubt.proof_at:
        return False
    return host.roaming is not None and (host.roaming.carrier is not None or not host.roaming.failed)


def holder_of_outer(context: Context, host: Host, draining: Draining) -> Host | None:
    """Return the earlier inner master whose outer master carries this one or may do so, None if there is none.

    One outer master may carry several earlier inner ones. One of them has it as its own.
    """
    carrier = host.roaming.carrier if host.roaming is not None else None
    for one in (host, *context.state.draining(draining.owner)):
        if one.master is not None and one.master.pid not in one.killing and carrier in {None, one.master.pid}:
            return one
    return None


def _attach(context: Context, host: Host, draining: Draining) -> float | None:
    roaming = host.roaming
    if roaming is None:
        return None
    outer = _outer_of_owner(context, draining.owner)
    if outer is None or outer.pid in {roaming.carrier, roaming.elsewhere}:
        # Without a link, its own outer master may still work.
        holder = holder_of_outer(context, host, draining) if roaming.carrier is None else None
        outer = holder.master if holder is not None else None
        if outer is None or roaming.attaching is not None:
            return None
    if outer.pid == roaming.attaching:
        return None
    if context.now < roaming.retry_at:
        return roaming.retry_at
    context.do(AttachRoaming(host.name, outer))
    context.put(host, roaming=replace(roaming, attaching=outer.pid))
    context.because(host.name, 0, "attach", Evidence.of(outer=outer.pid))
    return None


def _outer_of_owner(context: Context, owner: str) -> Master | None:
    """Return the master of the owner that may carry the link, None if there is none.

    A master of the user may not: the user's ssh would not exit before the link ends. A plain master that is about to
    become an outer one changes its control path, so wait for that.
    """
    host = context.get(owner)
    if host is None or host.master is None or host.suspect or host.ending or not host.master.started_by_agent:
        return None
    if host.attempt is not None and host.attempt.taking_over:
        return None
    stays_plain = not host.wish.roam or host.roaming_start.failure is not None
    settled = host.roaming is not None or (stays_plain and host.roaming_start.through is None)
    return host.master if settled else None
