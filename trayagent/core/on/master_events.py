"""Handles a master that was found, ended, or answered a probe; pure."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Kill, Remember
from trayagent.core.facts.events import (
    AgentSocketUpdated,
    MasterEnded,
    MasterFound,
    MasterUsed,
    ProbeAnswered,
)
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.hosts import Forwards, Host, LoginHistory
from trayagent.core.facts.masters import Master
from trayagent.core.facts.time_constants import CROSSED_S, LOGINS_WINDOW_S, STALLS_PER_WINDOW
from trayagent.core.find_jump_host import last_jump
from trayagent.core.on import draining_progress, earlier_inner
from trayagent.core.on.adopt_master import install, move_along
from trayagent.core.on.forwards import forget_given
from trayagent.core.on.network_change import forget_failure
from trayagent.core.on.roaming_progress import inner_ended, publish_moved
from trayagent.core.policy.begin_attempt import give_up_attempt, request_resolve
from trayagent.core.policy.hostname_edited import checks_every_key
from trayagent.core.policy.key_trials import want_trial
from trayagent.core.policy.logins.cut_short import after_end
from trayagent.core.policy.logins.when_to_retry import REFUSED_KINDS, VANISHED_KINDS, after_success
from trayagent.core.policy.probe_again import probe_again, probe_carriers
from trayagent.core.policy.reached_networks import note_reached
from trayagent.core.policy.shared_connection import owner_of_path

# If a login beside the old connection ended in one of these ways, a login may work after the old connection ended.
_JUDGING_KINDS: frozenset[FailureKind] = frozenset({"host-key-unknown", "host-key-changed"})


def master_found(context: Context, event: MasterFound) -> None:
    """Adopt a master that another program started, or that an earlier agent left behind."""
    draining_progress.forget_beside(context, event.master.pid)
    host = context.get(event.name)
    owner = owner_of_path(host, context.state.hosts, event.master.control_path) if host is not None else None
    if owner is not None:  # the owner's inner master lost the path to it
        event, host = replace(event, name=owner.name, unnamed=False), owner
    if host is None:
        if not context.state.adopt:
            return
        host = Host(event.name, unnamed=event.unnamed)
    if not host.wish.listed and not context.state.adopt:
        return
    if event.master.pid in _own_pids(host):
        return
    inner = None
    if host.hidden_path is not None and event.master.control_path != host.hidden_path:
        inner = host.roaming.inner.pid if host.roaming is not None else None
        host = _without_outer(context, host)
    if host.attempt is not None and not host.attempt.taking_over:
        context.put(host)
        give_up_attempt(context, host)  # the user's own ssh made a master first
        host = context.get(event.name) or host
    # A listed host's options are known, even if an earlier master was unnamed.
    unnamed = (event.unnamed or host.unnamed) and not host.wish.listed
    login = host.login if event.survivor else _login_of(host, event.master)
    host = _taken_up(context, replace(host, login=login, unnamed=unnamed), event.master)
    host = install(context, host, event.master, proven=event.fresh, survivor=event.survivor)
    move_along(context, host, inner, event.master)
    context.publish(
        "master-adopted", host.name, Evidence.of(pid=event.master.pid), control_path=event.master.control_path
    )
    context.because(
        host.name,
        0,
        "adopt",
        Evidence.of(pid=event.master.pid, fresh=event.fresh, unnamed=event.unnamed),
    )
    if host.login.helped:
        want_trial(context, host, Evidence.of(login="by_hand"))


def _without_outer(context: Context, host: Host) -> Host:
    """Leave the outer master to an inner one that lost the control path to the user's own ssh.

    End the outer master if there is no inner one, or if the user wants its end.
    """
    if host.roaming is not None and not host.roaming.ending:
        return earlier_inner.begin(context, host, host.roaming)
    inner_ended(context, host, "control_path=taken", by_request=False)
    host, _ = earlier_inner.leave_outer(context, context.state.hosts[host.name])
    if host.master is None:
        return host
    context.do(Kill(host.name, host.master))
    return context.put(host, master=None, path=None, killing=host.killing | {host.master.pid})


def _login_of(host: Host, master: Master) -> LoginHistory:
    """Infer how a master's login went. If the agent's login was refused, the user may have typed something here.

    The cause of the refusal may also be gone: the server accepted no logins for a while, or another machine had its
    address. One more login of the agent shows whether the host needs the user.
    """
    if master.started_by_agent or not host.retry.stopped:
        return host.login
    match host.retry.kind:
        case "auth" if host.login.kind == "quiet":
            return replace(host.login, helped=True)
        case "auth":
            return replace(host.login, kind="typed")
        case "passphrase":
            return replace(host.login, kind="unlocked")
        case _:
            return host.login


def _taken_up(context: Context, host: Host, master: Master) -> Host:
    """End the user's `disconnect` if the user started the master. End the master if the agent started it.

    A master that an earlier agent was about to end still lives, so that agent died before it could. Judge it again.
    """
    if not host.user.held:
        return context.put(host, killing=host.killing - {master.pid})
    if master.started_by_agent or master.pid in host.killing:
        context.do(Kill(host.name, master, gently=True))
        return context.put(host, killing=host.killing | {master.pid})
    host = context.put(host, user=replace(host.user, held=False))
    context.do(Remember(host.name))
    return host


def _own_pids(host: Host) -> frozenset[int]:
    """Return the pids of the host's master and of the new master that is about to take over the control path."""
    ready = host.attempt.ready if host.attempt is not None else None
    return frozenset(m.pid for m in (host.master, ready, host.spare) if m is not None)


def master_ended(context: Context, event: MasterEnded) -> None:
    """Row 1: note that a master's process ended."""
    host = context.get(event.name)
    if host is None:
        return
    if host.draining is not None:
        draining_progress.ended(context, host, event)
        forget_if_done(context, host.draining.owner)
        return
    we_ended_it = event.pid in host.killing
    host = context.put(host, killing=host.killing - {event.pid})
    if we_ended_it and host.user.held:
        context.do(Remember(host.name))  # forget the pid, because another process may get the same pid later
    if host.roaming is not None and host.roaming.inner.pid == event.pid:
        inner_ended(context, host, event.failure.kind if event.failure else "", by_request=event.by_request)
        return
    if host.master is None or host.master.pid != event.pid:
        return
    doubtful = context.state.doubtful(host, context.now, in_order=event.in_order or event.by_request)
    evidence = _evidence_of_end(event, host.master, suspect=doubtful)
    died = event.failure is not None and event.failure.kind in VANISHED_KINDS
    host = context.put(
        host,
        master=None,
        path=None,
        doubt=replace(host.doubt, probe=None, observed=None, gone_at=None),
        forwards=host.forwards if host.roaming is not None else _closed(host.forwards),
        # Our own kill says nothing about the server.
        login=replace(
            host.login
            if we_ended_it or doubtful or event.by_request
            else after_end(host, host.master, context.now),
            vanished_at=context.now if died or (doubtful and not we_ended_it) else host.login.vanished_at,
        ),
    )
    held_back = host.retry.kind in _JUDGING_KINDS and checks_every_key(host)
    if held_back or host.doubt.other_address is not None:
        host = context.put(host, retry=after_success(host.retry, context.now), problem=None)
    if not we_ended_it:
        _note_end(context, host, event, evidence, by_network=doubtful or died, died=died)
    if host.resolved is None and not host.unnamed:
        request_resolve(
            context, event.name
        )  # it failed when the master was found, and no retry was due since
    forget_given(context, event.name)
    forget_if_done(context, event.name)


def _note_end(
    context: Context, host: Host, event: MasterEnded, evidence: Evidence, *, by_network: bool, died: bool
) -> None:
    """Report a master's end that the agent did not cause."""
    if host.linked:  # by the port of the far relay, so no session waits
        context.because(host.name, 1, "ended", evidence.plus(by="port"))
        context.put(host, lost=True)
        return
    context.because(host.name, 1, "ended", evidence)
    if died:  # the master of its jump host may be dead, too
        probe_carriers(context, host, older_s=0.0)
    _ended_unexpectedly(context, host, event, by_network=by_network)
    left = context.get(event.name)
    context.publish("disconnected", host.name, evidence, wished=left is None or not left.lost)


def _evidence_of_end(event: MasterEnded, master: Master, *, suspect: bool) -> Evidence:
    failure = event.failure.kind if event.failure else None
    evidence = Evidence.of(pid=event.pid, suspect=suspect, failure=failure, by_request=event.by_request)
    return evidence if master.started_by_agent else evidence.plus(started_by="other")


def _closed(forwards: Forwards) -> Forwards:
    return replace(forwards.rest(), states=tuple(replace(f, state="closed") for f in forwards.states))


def forget_if_done(context: Context, name: str) -> None:
    """Forget a host without a master.

    Keep a host that is configured, lost or draining, or that has a request of the user.
    """
    host = context.get(name)
    if host is None or host.master is not None or host.wish.listed or host.lost or host.attempt is not None:
        return
    if host.roaming is not None:
        return
    commanded = host.user.held or host.user.reconnect or host.user.paused_until is not None
    if not (commanded and not host.unnamed) and not context.state.draining(name):
        context.forget(name)


def _ended_unexpectedly(context: Context, host: Host, event: MasterEnded, *, by_network: bool) -> None:
    if host.unnamed:
        return
    if host.roaming is not None:  # the sessions wait for the next outer master
        context.put(host, lost=True)
    elif host.wish.connect == "always":
        # `ssh -O exit` on a healthy master is a request of the user, as `disconnect` is.
        held = host.user.held or (event.by_request and not by_network)
        context.put(host, user=replace(host.user, held=held), lost=not held)
        context.do(Remember(host.name))
    elif by_network:
        context.put(host, lost=True)
    else:
        forget_failure(context, host)


def probe_answered(context: Context, event: ProbeAnswered) -> None:
    """Row 6: note that the old connection carries data."""
    host = context.with_master(event.name, event.pid)
    if host is None or host.doubt.probe is None:
        return
    sent_before = (
        host.doubt.probe.sent_at < host.doubt.began_at and context.now - host.doubt.began_at < CROSSED_S
    )
    if host.doubt.gone_at is not None or sent_before:
        # The server may have sent the answer before the cause of the doubt. Probe again.
        context.put(host, doubt=replace(host.doubt, probe=None, observed=None))
        return
    _alive(context, host, Evidence.of(probe="answered"))


def _alive(context: Context, host: Host, evidence: Evidence) -> None:
    doubt, move = host.suspect, host.doubt.kernel_move
    # A refused login is still refused: that the old connection lives says nothing about a new login.
    refused = host.retry.kind in REFUSED_KINDS and host.retry.proven
    host = context.put(
        host,
        doubt=replace(
            host.doubt, proof_at=context.now, left=None, strayed=False, probe=None, kernel_move=None
        ),
        problem=host.problem if refused else None,
        lost=False,
        retry=host.retry if refused else after_success(host.retry, context.now),
        bare_retry=after_success(host.bare_retry, context.now),
    )
    if doubt:
        no_network_ms = host.outage.no_network_ms(context.now)
        if no_network_ms:
            evidence = evidence.plus(no_network_ms=no_network_ms)
        pid = host.master.pid if host.master else None
        if move is not None:
            since = max(move.since, host.outage.began_at or move.since)
            took_ms = round((context.now - since) * 1e3, 1)
            evidence = evidence.plus(by="mptcp", took_ms=took_ms)
            sessions = host.roaming.sessions if host.roaming is not None else move.sessions
            publish_moved(context, host, sessions, took_ms, "mptcp", pid)
        context.because(host.name, 6, "keep", evidence)
        context.publish("master-kept", host.name, evidence, pid=pid, no_network_ms=no_network_ms)
    note_reached(context, host)


def master_used(context: Context, event: MasterUsed) -> None:
    """Row 12: probe a master that is used again, or whose data gets no acknowledgement, and those that carry it."""
    host = context.with_master(event.name, event.pid)
    if host is None:
        return
    host = _note_use(context, host)
    if not event.stalled:
        probe_again(context, host, older_s=0.0, seen=False)
        return
    since = context.now - LOGINS_WINDOW_S
    if sum(at > since for at in host.login.times) > STALLS_PER_WINDOW:
        return
    probe_again(context, host, older_s=0.0)
    if host.probed_at is None and (context.get(host.name) or host).probed_at is not None:
        context.because(host.name, 12, "probe", Evidence.of(data="unacknowledged"))
    probe_carriers(context, host, older_s=0.0)


def _note_use(context: Context, host: Host) -> Host:
    """Note that the host and those that carry its master are used now, so they are connected before others."""
    carrier = last_jump(context.state.hosts, host)
    while carrier is not None and carrier.used_at != context.now:
        carrier = last_jump(context.state.hosts, context.put(carrier, used_at=context.now))
    return context.put(host, used_at=context.now)


def agent_socket_updated(context: Context, event: AgentSocketUpdated) -> None:
    """Store why the link to the agent socket on the server could not be made."""
    host = context.with_master(event.name, event.pid)
    if host is None:
        return
    context.put(host, agent_socket=event.problem)
    context.because(host.name, 0, "agent-socket", event.evidence)
