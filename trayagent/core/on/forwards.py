"""Handles changes of a host's forwards; pure."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Remember
from trayagent.core.facts.events import ForwardsChanged, HandForwardsFound, RemoteCleanedUp
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.hosts import ForwardState, Host
from trayagent.core.facts.time_constants import FORWARD_RETRY_FIRST_S, FORWARD_RETRY_MAX_S
from trayagent.core.policy.logins.doubling_pause import doubling
from trayagent.core.policy.probe_again import probe_again
from trayagent.core.policy.shared_connection import users_of_connection
from trayagent.core.policy.wanted_connection import configured_forwards, wanted, wanted_forwards


def forwards_changed(context: Context, event: ForwardsChanged) -> None:
    """Store the state of the forwards, and when to request the failed ones again.

    If a request is due, it came after the agent began the reported requests, so it stays due. A master that the agent
    is ending is ignored, because its end makes its forwards fail.
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
    # The agent may have found forwards given by hand after it began these requests.
    reported = {f.forward for f in event.forwards}
    later = (
        f for f in host.forwards.states if f.forward in host.forwards.by_hand and f.forward not in reported
    )
    states = (*event.forwards, *later)
    if not event.final:
        context.put(host, forwards=replace(host.forwards, states=states))
        return
    host, states = _without_taken(context, host, states)
    failed = any(f.state == "failed" for f in states)
    if host.forwards.tried == 0:  # report only the first failure, not each retry
        for forward in states:
            if forward.state == "failed":
                found = Evidence.of(forward=forward.forward.spec, error=forward.error or "unknown")
                context.because(host.name, 0, "forward-failed", found)
    host = _probe_if_unanswered(context, host, states)
    tried = host.forwards.tried + 1 if failed else 0
    pause = doubling(FORWARD_RETRY_FIRST_S, tried, FORWARD_RETRY_MAX_S) if failed else None
    context.put(
        host,
        forwards=replace(
            host.forwards,
            states=states,
            tried=tried,
            retry_at=context.now + pause if pause is not None else None,
            owed=host.forwards.owed and failed,
        ),
    )


def _probe_if_unanswered(context: Context, host: Host, states: tuple[ForwardState, ...]) -> Host:
    """Row 12: probe the master if the server did not answer the request for a remote forward. Return the host."""
    if any(f.state == "failed" and f.forward.kind == "remote" and not f.refused for f in states):
        probe_again(context, host, older_s=0.0)
    return context.get(host.name) or host


def _without_taken(
    context: Context, host: Host, states: tuple[ForwardState, ...]
) -> tuple[Host, tuple[ForwardState, ...]]:
    """Give up forwards that were given by hand if another program now has their port."""
    given = set(host.forwards.by_hand) - set(configured_forwards(host))
    taken = {f.forward: f.error for f in states if f.taken and f.forward in given}
    if not taken:
        return host, states
    for forward, error in taken.items():
        found = Evidence.of(forward=forward.spec, error=error or "unknown")
        context.because(host.name, 0, "forward-given-up", found)
    context.do(Remember(host.name))
    left = tuple(f for f in host.forwards.by_hand if f not in taken)
    host = context.put(host, forwards=replace(host.forwards, by_hand=left))
    return host, tuple(f for f in states if f.forward not in taken)


def hand_forwards_found(context: Context, event: HandForwardsFound) -> None:
    """Store the forwards that the user gave to ssh, so that the next master gets them, too.

    A master that is being replaced is ignored: the agent closes its forwards itself.
    """
    host = context.get(event.name)
    master = host.forwarding_master if host is not None else None
    moves = host is not None and host.attempt is not None and host.attempt.taking_over
    if host is None or master is None or master.pid != event.pid or event.pid in host.killing or moves:
        return
    before, configured = host.forwards, {*configured_forwards(host)}
    ours = {f.forward for f in before.states}
    others = (h for h in users_of_connection(event.pid, context.state.hosts) if h.name != host.name)
    ours |= {forward for other in others for forward in wanted_forwards(other)}
    new = {f.forward: f for f in event.opened if f.forward not in {*configured, *before.by_hand, *ours}}
    gone = {f for f in before.by_hand if f in event.closed or (f not in new and _same_end(f, new))}
    by_hand = (*(f for f in before.by_hand if f not in gone and f not in configured), *new)
    states = (*(f for f in before.states if f.forward not in gone or f.forward in configured), *new.values())
    unknown = before.unknown if event.unknown is None else event.unknown
    for forward, state in new.items():
        context.publish("forward-found", host.name, forward=forward.spec, listen=state.listen)
        context.because(host.name, 0, "forward-found", Evidence.of(forward=forward.spec, pid=event.pid))
    for listen in unknown:
        if listen not in before.unknown:
            context.publish("forward-unknown", host.name, listen=listen)
            context.because(host.name, 0, "forward-unknown", Evidence.of(listen=listen, pid=event.pid))
    host = context.put(host, forwards=replace(before, by_hand=by_hand, states=states, unknown=unknown))
    if by_hand != before.by_hand:
        context.do(Remember(host.name))


def _same_end(forward: Forward, others: Collection[Forward]) -> bool:
    """Report whether another forward listens at the same end. If so, this forward must have been closed."""
    ends = {(other.kind == "remote", other.listen) for other in others}
    return (forward.listen.port != 0 or forward.listen.path is not None) and (
        forward.kind == "remote",
        forward.listen,
    ) in ends


def without_configured(context: Context, host: Host) -> Host:
    """Remove forwards from those given by hand if they are now configured."""
    left = tuple(f for f in host.forwards.by_hand if f not in {*configured_forwards(host)})
    if left == host.forwards.by_hand:
        return host
    context.do(Remember(host.name))
    return context.put(host, forwards=replace(host.forwards, by_hand=left))


def forget_given(context: Context, name: str) -> None:
    """Forget the forwards that were given by hand if their master ended and no other master will follow."""
    host = context.get(name)
    if (
        host is None
        or not (host.forwards.by_hand or host.forwards.unknown)
        or host.masters
        or host.attempt is not None
        or wanted(host)
    ):
        return
    given = host.forwards.by_hand
    states = tuple(f for f in host.forwards.states if f.forward not in given)
    context.put(host, forwards=replace(host.forwards, by_hand=(), unknown=(), states=states))
    if given:
        context.do(Remember(host.name))


def remote_cleaned_up(context: Context, event: RemoteCleanedUp) -> None:
    """Note how the clean-up of our dead sessions on the server went. The forwards are requested in any case."""
    verdict = "reap" if event.outcome.unavailable is None else "no-reap"
    context.because(event.name, 0, verdict, event.outcome.evidence())
