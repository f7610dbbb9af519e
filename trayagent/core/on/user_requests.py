"""Handles the user's requests; pure."""

from __future__ import annotations

from math import inf

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import EndRoaming, Kill, Observe, Remember
from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.time_constants import NEVER
from trayagent.core.facts.user_events import (
    CredentialsChanged,
    LoginBegun,
    UserDisconnect,
    UserPause,
    UserReconnect,
    UserResume,
    UserStopMasters,
    UserViewedStatus,
)
from trayagent.core.on import draining_progress
from trayagent.core.policy.admission import admission
from trayagent.core.policy.begin_attempt import begin, give_up_attempt, publish_given_up, request_resolve
from trayagent.core.policy.logins.cut_logins import abort
from trayagent.core.policy.logins.login_limits_per_server import forgiven
from trayagent.core.policy.logins.server_names import names_of
from trayagent.core.policy.logins.when_to_retry import CREDENTIAL_KINDS, REFUSED_KINDS, with_new_credentials
from trayagent.core.policy.probe_again import probe_again
from trayagent.core.policy.shared_connection import let_go, other_user, owner_of_connection
from trayagent.core.policy.staleness.end_idle_draining import end_draining
from trayagent.core.policy.standby import retried
from trayagent.core.tunnel_underlay import underlay
from trayagent.core.usable_routes import next_lookups


def reconnect(context: Context, event: UserReconnect) -> None:
    """Connect again now. The user's request ends pauses, disconnects and back-offs of these hosts."""
    for name in _without_guests(context, event.names):
        host = context.get(name)
        if host is None or host.unnamed or host.at_prompt:  # `at_prompt`: the user is already logging in
            continue
        remembered = host.user.held or host.user.paused_until is not None or host.retry.kind in REFUSED_KINDS
        retry = replace(host.retry, at=context.now, kind=None, count=0)
        host = context.put(
            host,
            user=replace(host.user, reconnect=True, held=False, until_restart=False, paused_until=None),
            retry=retry,
            problem=None,
            roaming_start=replace(host.roaming_start, reason=None, retry_at=NEVER),
            standby=retried(host),
        )
        host = context.put(host, user=replace(host.user, at_once=event.at_once))
        if event.at_once:
            draining_progress.end_all(context, name)
        attempt = host.attempt
        if attempt is not None and (attempt.bare or attempt.refused is not None):
            host = give_up_attempt(context, host)  # the current attempt cannot succeed
        elif attempt is not None and not attempt.taking_over:
            host = context.put(
                host,
                attempt=replace(attempt, purpose="user", unwanted=False),
                user=replace(host.user, reconnect=False),
            )
        _forgive(context, host)
        if host.resolved is None:
            request_resolve(context, name)  # `ssh -G` failed or never ran, and the cause may be gone
        context.because(name, 0, "user", Evidence.of(request="reconnect"))
        if remembered:
            context.do(Remember(name))


def _without_guests(context: Context, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names, with the owner's in place of a name that uses the connection of a host that roams.

    A login for that name would replace the inner master, and with it the sessions that survive a change of network.
    """
    hosts = context.state.hosts
    owners = {n: owner_of_connection(h, hosts) for n in names if (h := context.get(n)) is not None}
    roams = {n: owner.name for n, owner in owners.items() if owner is not None and owner.roaming is not None}
    return tuple(dict.fromkeys(roams.get(name, name) for name in names))


def login_begun(context: Context, event: LoginBegun) -> None:
    """Begin the user's own login at a terminal. Like `reconnect`, it ends pauses and disconnects."""
    host = context.get(event.name) or Host(event.name)
    if host.unnamed or (host.attempt is not None and (host.attempt.taking_over or host.attempt.at_terminal)):
        return
    host = replace(host, resolved=event.resolved, hop=event.hop, later_hops=event.later_hops)
    admitted = admission(host, context.state, by_user=True)
    snapshot = context.state.snapshot
    unasked = underlay(snapshot) is not None and not snapshot.matched.keys() >= set(next_lookups(host))
    if not admitted.open and not (admitted.code == "unreachable" and unasked):
        return
    host = _without_attempt(context, host)
    remembered = host.user.held or host.user.paused_until is not None
    host = context.put(
        host, user=replace(host.user, held=False, until_restart=False, paused_until=None, at_once=False)
    )
    _forgive(context, host)
    attempt = Attempt(context.state.next_attempt, "user", context.now, at_terminal=True)
    attempt = begin(context, host, admitted, attempt)
    context.because(event.name, 0, "user", Evidence.of(request="login", attempt=attempt.id))
    context.publish("connecting", event.name, Evidence.of(user="login"), purpose="user")
    if remembered:
        context.do(Remember(event.name))


def _forgive(context: Context, host: Host) -> None:
    """End the pauses of the host's server, under all its names."""
    names = names_of(host.server, context.state.hosts)
    context.change(servers=forgiven(context.state.servers, names))


def _without_attempt(context: Context, host: Host) -> Host:
    """End an automatic attempt, because the user logs in now. The server may count one more unfinished login."""
    host = give_up_attempt(context, context.put(host))
    if host.attempt is None:
        return host
    return abort(context, host, host.attempt)


def disconnect(context: Context, event: UserDisconnect) -> None:
    """End the connections of these hosts, and keep the hosts down."""
    for name in event.names:
        host = context.get(name)
        if host is None:
            continue
        _take_down(context, context.put(host, user=replace(host.user, until_restart=False)), "disconnect")
        draining_progress.end_all(context, name)
        context.do(Remember(name))


def stop_masters(context: Context, event: UserStopMasters) -> None:
    """End the masters that trayagent started, and start no others until the agent ends."""
    del event
    context.change(paused_until=inf)  # the user's own masters stay, and no login begins beside them either
    for name in context.names:
        host = context.get(name)
        if host is None:
            continue
        if host.draining is not None:
            master = host.forwarding_master
            if master is not None and master.started_by_agent:
                end_draining(context, host)
        elif not host.unnamed and all(master.started_by_agent for master in host.masters):
            until_restart = host.user.until_restart or not host.user.held
            _take_down(
                context, context.put(host, user=replace(host.user, until_restart=until_restart)), "stop"
            )


def _take_down(context: Context, host: Host, request: str) -> None:
    """Give up the host's attempt, end its connection, and mark the host as held."""
    name = host.name
    publish_given_up(context, host, request)
    host = context.put(host, user=replace(host.user, held=True, reconnect=False), lost=False, problem=None)
    if host.attempt is not None:
        context.put(host, attempt=replace(host.attempt, purpose="connect"))
        give_up_attempt(context, context.state.hosts[name])
        host = context.state.hosts[name]
    context.because(name, 0, "user", Evidence.of(request=request))
    other = other_user(host, context.state.hosts)
    if host.master is not None and other is not None:
        context.publish("disconnected", name, Evidence.of(user=request), pid=host.master.pid)
        let_go(context, host, other)
        return
    if host.master is not None:
        context.put(host, killing=host.killing | {host.master.pid})
        context.publish("disconnected", name, Evidence.of(user=request), pid=host.master.pid)
        if host.roaming is None:
            context.do(Kill(name, host.master, gently=True))
    if host.roaming is not None:
        # The far relay is notified through the outer master, so the outer master ends only after that.
        context.do(EndRoaming(name, host.roaming.inner.pid))
        context.put(context.state.hosts[name], roaming=replace(host.roaming, ending=True, renewed=False))


def pause(context: Context, event: UserPause) -> None:
    """Pause these hosts. Without names, pause all hosts."""
    until = inf if event.for_s is None else context.now + event.for_s
    if not event.names:
        context.change(paused_until=until)
    for name in event.names:
        host = context.get(name)
        if host is not None:
            context.put(host, user=replace(host.user, paused_until=until))
            context.do(Remember(name))
    for name in event.names or context.names:
        host = context.get(name)
        if host is not None:
            host = give_up_attempt(context, host)
            forwards = replace(host.forwards, owed=False)
            context.put(host, user=replace(host.user, reconnect=False), forwards=forwards)
    for name in event.names or ("",):
        context.publish("paused", name, Evidence.of(user="pause"), for_s=event.for_s)


def resume(context: Context, event: UserResume) -> None:
    """End a pause. From now on, the agent acts again, also on what changed during the pause."""
    if not event.names:
        context.change(paused_until=None)
    for name in event.names or context.names:
        host = context.get(name)
        if host is None or host.user.paused_until is None:
            continue
        context.put(host, user=replace(host.user, paused_until=None))
        context.do(Remember(name))
    for name in event.names or ("",):
        context.publish("resumed-by-user", name, Evidence.of(user="resume"))


def status_viewed(context: Context, event: UserViewedStatus) -> None:
    """Row 12: probe living masters whose last proof is old, so that what the user sees is true."""
    draining_progress.count(context, event.names)
    for name in event.names or context.names:
        host = context.get(name)
        if host is None:
            continue
        if (
            host.suspect
            and host.master is not None
            and host.doubt.observed is not None
            and host.doubt.observed.stopped
        ):
            context.do(Observe(name, host.master, host.probed_at))  # a suspended process may have continued
        probe_again(context, host, seen=False)


def credentials_changed(context: Context, event: CredentialsChanged) -> None:
    """Retry the hosts that wait for credentials, because a key, the ssh-agent or known_hosts changed."""
    context.change(let_in={})  # earlier logins succeeded with other keys than ssh offers now
    for name in event.names or context.names:
        host = context.get(name)
        if host is not None and host.login.kind == "unlocked":
            # The ssh-agent may have the key now, so a login may work without the passphrase.
            host = context.put(host, login=replace(host.login, kind="quiet"))
        if host is None or host.retry.kind not in CREDENTIAL_KINDS:
            continue
        context.put(host, retry=with_new_credentials(host, context.now))
        context.do(Remember(name))
        context.because(name, 0, "re-arm", Evidence.of(credentials="changed"))
