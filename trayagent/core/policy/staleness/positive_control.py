"""Decides which control counts against a silent master; pure."""

from __future__ import annotations

from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.hosts import Host


def is_positive(control: Attempt, host: Host) -> bool:
    """Report whether the control proves the route: it was answered, and it began after the path last changed."""
    return control.positive_at is not None and is_timely(control, host)


def is_timely(control: Attempt, host: Host) -> bool:
    """Report whether the control began late enough to judge the master's current path.

    If the master's local address is gone, a control from another address may have begun earlier, since the loss of the
    address does not affect that control.
    """
    if control.unwanted:
        return False
    local = host.master.local if host.master is not None else None
    elsewhere = control.source is not None and control.source != local
    return control.started_at >= host.doubt.began_at or (host.doubt.gone_at is not None and elsewhere)
