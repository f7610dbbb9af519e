"""Handles the login of a spare master, its answer and its end; pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Discard, Remember
from trayagent.core.facts.events import AttemptFailed, AttemptReady, MasterEnded, ProbeAnswered
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.time_constants import LOGINS_WINDOW_S
from trayagent.core.policy import standby
from trayagent.core.policy.begin_attempt import count_failure
from trayagent.core.policy.logins.login_limits_per_server import ended
from trayagent.core.policy.logins.server_names import names_of
from trayagent.core.policy.logins.when_to_retry import (
    may_be_refusal,
    with_refusal,
    with_refusal_elsewhere,
)
from trayagent.core.policy.spare_route import fits
from trayagent.core.policy.staleness.host_key_match import is_another

_Event = TypeVar("_Event", AttemptReady, AttemptFailed, MasterEnded, ProbeAnswered)


def of_login(
    own: Callable[[Context, Host, _Event], None], other: Callable[[Context, _Event], None]
) -> Callable[[Context, _Event], None]:
    """Return a handler that calls `own` for the login of a host's spare master, and `other` for any other attempt."""

    def handle(context: Context, event: _Event) -> None:
        host = context.get(event.name)
        number = getattr(event, "attempt", None)
        if host is not None and host.standby.attempt is not None and host.standby.attempt == number:
            own(context, host, event)
        else:
            other(context, event)

    return handle


def of_spare(
    own: Callable[[Context, Host, _Event], None], other: Callable[[Context, _Event], None]
) -> Callable[[Context, _Event], None]:
    """Return a handler that calls `own` for a host's spare master, and `other` for any other master."""

    def handle(context: Context, event: _Event) -> None:
        host = context.get(event.name)
        spare = host.spare if host is not None else None
        if host is not None and spare is not None and spare.pid == getattr(event, "pid", None):
            own(context, host, event)
        else:
            other(context, event)

    return handle


def answered(context: Context, host: Host, _event: ProbeAnswered) -> None:
    """Use the spare master, which answered."""
    standby.answered(context, host)


def ready(context: Context, host: Host, event: AttemptReady) -> None:
    """Keep the spare master, if it certainly reached the machine of the host's master."""
    names = names_of(host.server, context.state.hosts)
    context.change(servers=ended(context.state.servers, event.attempt, context.now, "through", names))
    if event.master is None:
        return
    same = host.master is None or fits(host.master, event.master)
    if not same or event.host_key is None or event.login != "quiet":
        context.do(Discard(host.name, event.master))
        standby.lost(context, host, "other-server" if not same else "unproven")
        return
    now = context.now
    times = (*(at for at in host.login.times if now - at < LOGINS_WINDOW_S), now)
    spare = event.master
    context.put(
        host,
        standby=replace(host.standby, attempt=None, master=spare, ready_at=now),
        login=replace(host.login, times=times),
    )
    evidence = Evidence.of(standby=spare.pid, interface=host.standby.interface)
    context.because(host.name, 0, "standby-ready", evidence)


def failed(context: Context, host: Host, event: AttemptFailed) -> None:
    """Note that there is no spare master. A refused login counts for its account, and is not repeated."""
    failure = event.failure
    count_failure(context, host, event.attempt, failure, event.jitter)
    if may_be_refusal(failure):
        if event.host_key is not None and is_another(host, event.host_key):
            host = with_refusal_elsewhere(host, context.now, event.host_key)
        else:
            host = with_refusal(host, failure, context.now, event.host_key)
        host = context.put(host, standby=replace(host.standby, refused=True))
        context.do(Remember(host.name))
    standby.lost(context, host, failure.kind)


def master_ended(context: Context, host: Host, event: MasterEnded) -> None:
    """Note that the spare master ended, perhaps while it was about to become the host's master."""
    attempt = host.attempt
    if attempt is not None and attempt.standby:
        if attempt.taking_over:
            return  # the take-over reports that
        host = context.put(host, attempt=None)
    standby.lost(context, host, event.failure.kind if event.failure is not None else "ended")
