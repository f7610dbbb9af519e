"""Handles the result of a take-over: the new master has the control path, or could not get it; pure."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Discard, Kill, Remember
from trayagent.core.facts.events import (
    TakeOverFailed,
    TookOver,
)
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.time_constants import NEVER
from trayagent.core.on import draining_progress
from trayagent.core.on.adopt_master import install, move_along
from trayagent.core.on.find_attempt import find_attempt
from trayagent.core.on.roaming_progress import end_sessions
from trayagent.core.policy.begin_attempt import publish_connect_failed
from trayagent.core.policy.key_trials import answered_by
from trayagent.core.policy.logins.when_to_retry import (
    with_failure,
)


def took_over(context: Context, event: TookOver) -> None:
    """Make the new master on the control path the host's master: the host is connected again."""
    host = context.get(event.name)
    if host is None:
        context.do(Discard(event.name, event.master))
        return
    now = context.now
    old = replaced = host.attempt.replaces if host.attempt is not None else None
    outage = host.outage
    began = outage.began_at
    if host.attempt is not None:
        host = answered_by(host, host.attempt)
    user = host.attempt is not None and host.attempt.purpose == "user"
    way = _way(host)
    at_once = user and host.user.at_once
    recovered = began is not None and not user and (old is not None or host.lost)
    if event.drained is not None and event.draining is not None:
        draining_progress.begin(context, host, event.drained, event.draining, proven=not host.suspect)
        draining_progress.publish_begun(context, host.name, event.drained, event.draining)
        old = None
        host = replace(host, forwards=replace(host.forwards, unknown=()))  # the old master still has them
    host = replace(
        host,
        attempt=None,
        outage=replace(host.outage, began_at=None),
        user=replace(host.user, reconnect=False, at_once=False),
    )
    host = install(
        context,
        _to_be_attached(host, event.master.pid, now if began is None else began),
        event.master,
        proven=True,
    )
    if at_once and not host.user.held:
        host = end_sessions(context, host)
    if host.roaming is None:
        move_along(context, host, replaced, event.master)
    if host.user.held:  # the user disconnected the host in the meantime
        host = context.put(host, killing=host.killing | {event.master.pid})
        context.do(Kill(host.name, event.master, gently=True))
        # If the old master began to drain just now, the user's `disconnect` has not ended it yet.
        if event.drained is not None:
            draining_progress.end_all(context, host.name)
    took_s = now - began if began is not None else None
    host = context.put(
        host,
        outage=replace(
            host.outage,
            recoveries=host.outage.recoveries + (1 if recovered else 0),
            last_recovery_s=took_s if recovered else host.outage.last_recovery_s,
        ),
        login=replace(host.login, worked_at=now),
        forwards=replace(host.forwards, owed=user and not host.user.held),
    )
    if old is not None:
        context.publish("master-killed", host.name, reason="taken over", pid=old)
    took_ms = None if took_s is None else round(took_s * 1e3, 1)
    no_network_ms = outage.no_network_ms(now)
    context.publish(
        "connected",
        host.name,
        reason="adopted" if event.adopted else "",
        pid=event.master.pid,
        took_ms=took_ms,
        no_network_ms=no_network_ms,
        **way,
    )
    evidence = Evidence.of(pid=event.master.pid, took_ms=took_ms, adopted=event.adopted).plus(**way)
    if no_network_ms:
        evidence = evidence.plus(no_network_ms=no_network_ms)
    context.because(host.name, 0, "connected", evidence)
    context.do(Remember(host.name))


def _way(host: Host) -> dict[str, Any]:
    """Return {"by": "standby"} if the new master was the host's spare one, else nothing."""
    return {"by": "standby"} if host.attempt is not None and host.attempt.standby else {}


def _to_be_attached(host: Host, pid: int, since: float) -> Host:
    """Make a host that roams attach through the new outer master, unless it is attached there already.

    If the last outer master reached another machine, its sessions have been waiting since before that one.
    """
    roaming = host.roaming
    if roaming is None or roaming.carrier == pid:
        return host
    if roaming.elsewhere is not None and roaming.moving_since is not None:
        since = min(since, roaming.moving_since)
    return replace(host, roaming=replace(roaming, moving_since=since, retry_at=NEVER, failed=0))


def take_over_failed(context: Context, event: TakeOverFailed) -> None:
    """Note that the control path is unavailable: another program listens there, or its directory is gone."""
    host, attempt = find_attempt(context, event.name, event.attempt)
    if host is None or attempt is None:
        return
    problem: Problem = event.failure.problem
    old = frozenset() if host.master is None else frozenset({host.master.pid})
    host = with_failure(host, attempt, event.failure, context.now, 1.0)
    host = context.put(host, attempt=None, killing=host.killing - old, problem=problem)
    publish_connect_failed(context, host, problem)
