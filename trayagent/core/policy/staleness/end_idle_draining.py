"""Ends draining masters: at a request, or if one still runs although it has carried nothing for some time; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import CountCarried, EndRoaming, Kill
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.time_constants import IDLE_DRAINING_S, STAYING_COUNT_S


def end_if_idle(context: Context, host: Host, master: Master) -> float | None:
    """End a draining master that still runs although it carries nothing. Return when to check again."""
    draining, now = host.draining, context.now
    if draining is None or (draining.idle_at is None and not draining.stays):
        return None
    if draining.idle_at is None:
        due = draining.counted_at + STAYING_COUNT_S
        if now >= due:
            context.do(CountCarried(host.name, master))
        return due if now < due else None
    due = draining.idle_at + IDLE_DRAINING_S
    if now < due:
        return due
    if draining.counted_at < due:
        context.do(CountCarried(host.name, master))
        return None
    context.because(
        host.name, 0, "drained", Evidence.of(carries="nothing", idle_s=f"{now - draining.idle_at:.0f}")
    )
    end_draining(context, host)
    return None


def end_draining(context: Context, host: Host) -> None:
    """End a draining master. The far relay of an inner one is notified first, through the outer master."""
    if host.roaming is not None:
        if not host.roaming.ending:
            context.do(EndRoaming(host.name, host.roaming.inner.pid))
            context.put(host, roaming=replace(host.roaming, ending=True))
    elif host.master is not None:
        context.put(host, killing=host.killing | {host.master.pid})
        context.do(Kill(host.name, host.master))
