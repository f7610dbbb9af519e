"""Handles changes of a host's forwards; pure."""

from __future__ import annotations

from dataclasses import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.events import ForwardsChanged, RemoteCleanedUp
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.time_constants import FORWARD_RETRY_FIRST_S, FORWARD_RETRY_MAX_S
from trayagent.core.policy.doubling_pause import doubling


def forwards_changed(context: Context, event: ForwardsChanged) -> None:
    """Store the state of the forwards, and when to request the failed ones again.

    A request that is still pending came after the reported round began, so it stays.
    A master that is being replaced is ignored: its last messages are about its end, not about the forwards.
    """
    host = context.get(event.name)
    master = host.forwarding_master if host is not None else None
    if host is None or master is None or master.pid != event.pid or event.pid in host.killing:
        return
    before = {f.forward: f.state for f in host.forwards.states}
    for forward in event.forwards:
        if before.get(forward.forward) == forward.state:
            continue
        if forward.state == "open":
            context.publish("forward-open", host.name, forward=forward.forward.spec, listen=forward.listen)
        elif forward.state == "failed":
            context.publish(
                "forward-failed", host.name, reason=forward.error or "", forward=forward.forward.spec
            )
    if not event.final:
        context.put(host, forwards=replace(host.forwards, states=event.forwards))
        return
    failed = any(f.state == "failed" for f in event.forwards)
    if host.forwards.tried == 0:  # otherwise each retry would be another decision
        for forward in event.forwards:
            if forward.state == "failed":
                found = Evidence.of(forward=forward.forward.spec, error=forward.error or "unknown")
                context.because(host.name, 0, "forward-failed", found)
    tried = host.forwards.tried + 1 if failed else 0
    pause = doubling(FORWARD_RETRY_FIRST_S, tried, FORWARD_RETRY_MAX_S) if failed else None
    context.put(
        host,
        forwards=replace(
            host.forwards,
            states=event.forwards,
            tried=tried,
            retry_at=context.now + pause if pause is not None else None,
            owed=host.forwards.owed and failed,
        ),
    )


def remote_cleaned_up(context: Context, event: RemoteCleanedUp) -> None:
    """Note how the clean-up of our dead sessions on the server went. The forwards are requested in any case."""
    verdict = "reap" if event.outcome.unavailable is None else "no-reap"
    context.because(event.name, 0, verdict, event.outcome.evidence())
