"""Handles the results of `ssh -G`, and decides when to run `ssh -G` again; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.attempt import Retry
from trayagent.core.facts.events import HostResolved, ResolveFailed
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Answer, Host
from trayagent.core.facts.problems import Code
from trayagent.core.facts.time_constants import RETRY_MAX_S
from trayagent.core.on.forwards import without_configured
from trayagent.core.on.removed_names import restore_name, unname, was_removed
from trayagent.core.policy.admission import admission
from trayagent.core.policy.begin_attempt import publish_connect_failed, request_resolve
from trayagent.core.policy.logins.when_to_retry import (
    LOCAL_KINDS,
    REFUSED_KINDS,
    STOP_KINDS,
    rearmable,
    rearmed,
    with_new_credentials,
)
from trayagent.core.policy.resolve_again import certainly_elsewhere
from trayagent.core.policy.wanted_connection import wanted
from trayagent.core.tunnel_underlay import underlay
from trayagent.core.usable_routes import network_here

_OF_SSH: frozenset[Code] = frozenset({"config-error", "ssh-missing"})  # the codes of a failed `ssh -G`


def follow_answer(context: Context, host: Host) -> Host:
    """Complete the network of the last `ssh -G`. Run `ssh -G` again for a stopped host that may be retried here.

    Any other host is resolved only before its next login, so that a flapping network does not run `ssh -G` often.
    """
    answer = host.answer
    network = network_here(context.state.snapshot)
    if (
        answer.network is not None
        and not answer.network.known
        and answer.underlay == underlay(context.state.snapshot)
    ):
        host = context.put(host, answer=replace(answer, network=network or answer.network))
    stopped = host.master is None and host.retry.stopped and wanted(host)
    if stopped and certainly_elsewhere(host, context.state) and admission(host, context.state).open:
        request_resolve(context, host.name)
    return host


def host_resolved(context: Context, event: HostResolved) -> None:
    """Store the result of `ssh -G`. If the result changed, retry a host that waits or was stopped."""
    host = context.get(event.name)
    if host is None:
        return
    if was_removed(host, event):
        host = replace(host, name_removed=True)
        if not host.wish.listed:  # keep the last answer, because the present one is about another server
            unname(context, host)
            return
    elif event.named:
        host = restore_name(host)
    old = host.resolved
    # A result with DNS look-ups may differ from one without them, although the configuration did not change.
    changed = (
        old is not None and old != event.resolved and host.answer.lookups_allowed == event.lookups_allowed
    )
    # The first result does not end a refusal that an earlier agent stored: ssh's configuration did not cause it.
    unanswered = old is None and host.retry.kind is not None and host.retry.kind not in REFUSED_KINDS
    again = changed or unanswered or host.retry.kind in STOP_KINDS
    retry = _after_answer(context, host) if again else host.retry
    problem = host.problem
    if problem is not None and problem.code in _OF_SSH and host.retry.kind != "control-path":
        problem = None
    answer = _answer(
        context, begun_at=event.begun_at, varies=event.varies, lookups_allowed=event.lookups_allowed
    )
    answer = replace(answer, named=event.named)
    master, host_key = host.master, host.login.host_key
    if master is not None and master.target is None:
        master = replace(master, target=(old or event.resolved).target)
    if (
        old is not None
        and None not in {old.target, event.resolved.target}
        and old.target != event.resolved.target
    ):
        host_key = None  # another address may be another machine
    host = context.put(
        replace(host, master=master, login=replace(host.login, host_key=host_key)),
        resolved=event.resolved,
        hop=event.hop,
        later_hops=event.later_hops,
        known_keys=event.known_keys,
        answer=answer,
        retry=retry,
        problem=problem,
    )
    host = without_configured(context, host)
    if old is not None and old.forwards != event.resolved.forwards:
        context.put(host, forwards=host.forwards.request())


def _after_answer(context: Context, host: Host) -> Retry:
    """Return the retry of a host whose configuration changed: the cause of its failure may be fixed."""
    retry = host.retry
    if retry.stopped:
        return with_new_credentials(host, context.now)
    if retry.kind in LOCAL_KINDS | STOP_KINDS:
        return replace(retry, at=context.now)
    # This retry counts against the limit on re-arming, because a flapping network may change the results of `ssh -G`.
    return rearmed(retry, context.now, retry.network) if rearmable(retry, context.now) else retry


def resolve_failed(context: Context, event: ResolveFailed) -> None:
    """Keep the last good result of `ssh -G`, if any. Without a result, the host cannot be connected."""
    host = context.get(event.name)
    if host is None or host.unnamed:
        return
    problem = event.failure.problem
    if host.resolved is None:
        if problem != host.problem:
            publish_connect_failed(context, host, problem)
        retry = replace(host.retry, at=context.now + RETRY_MAX_S, kind=event.failure.kind)
        host = context.put(host, user=replace(host.user, reconnect=False), retry=retry)
    elif event.lookups_allowed:  # logins use the old result, and `ssh -G` does not run again on this network
        answer = _answer(context, varies=host.answer.varies)
        host = context.put(host, answer=replace(answer, named=host.answer.named))
    if host.problem is None or not host.retry.stopped:  # else only the shown problem says what ends the wait
        context.put(host, problem=problem)
    context.because(
        host.name,
        0,
        "resolve-failed",
        Evidence.of(kind=event.failure.kind, kept=host.resolved is not None),
    )


def _answer(
    context: Context, *, begun_at: float | None = None, varies: bool = False, lookups_allowed: bool = True
) -> Answer:
    snapshot = context.state.snapshot
    at = context.now if begun_at is None else begun_at
    # If `ssh -G` began before the network changed, its answer may belong to the previous network.
    here = None if at < context.state.network_at else network_here(snapshot)
    return Answer(at, here, underlay(snapshot), varies, lookups_allowed)
