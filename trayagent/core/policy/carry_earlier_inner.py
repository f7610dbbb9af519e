"""Decides which outer master carries an inner master that lost the user's control path; pure.

Its own outer master carries it, until the host it belonged to has an outer master again. The agent does not judge its
own outer master, and ends it once another one carries the link.
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
    due = (_attach(context, host, draining), idle_at)
    return min((at for at in due if at is not None), default=None)


def _attach(context: Context, host: Host, draining: Draining) -> float | None:
    roaming = host.roaming
    if roaming is None or roaming.attaching is not None:
        return None
    outer = _outer_of_owner(context, draining.owner)
    if outer is None or outer.pid in {roaming.carrier, roaming.elsewhere}:
        # Without a link, its own outer master may still work.
        outer = host.master if roaming.carrier is None and host.master is not None else None
        if outer is None or outer.pid in host.killing:
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
