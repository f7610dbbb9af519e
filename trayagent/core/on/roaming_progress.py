"""Handles the progress of roaming: begun, attached, away, ended; pure. See docs/roaming.md."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Discard, EndRoaming, Kill, Remember, SendProbe
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Forwards, Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.roaming import OVERTAKEN, Roaming, RoamingStart
from trayagent.core.facts.roaming_events import (
    MasterMoved,
    RoamingAttached,
    RoamingAttachedByPort,
    RoamingAttachFailed,
    RoamingAway,
    RoamingBegan,
    RoamingEnded,
    RoamingFound,
    RoamingLoginBegun,
    RoamingNotPossible,
    RoamingPortFailed,
    RoamingStalled,
)
from trayagent.core.facts.time_constants import (
    NEVER,
    RETRY_FIRST_S,
    RETRY_MAX_S,
    ROAMING_RETRY_FIRST_S,
    ROAMING_SHORT_LIFE_S,
)
from trayagent.core.on import earlier_inner
from trayagent.core.on.adopt_master import move_along
from trayagent.core.on.network_change import forget_failure
from trayagent.core.policy import standby
from trayagent.core.policy.attach_by_port import lost
from trayagent.core.policy.begin_roaming import begin_at_login
from trayagent.core.policy.logins.doubling_pause import doubling
from trayagent.core.policy.logins.login_needs_user import login_needs_user
from trayagent.core.policy.probe_again import probe_again


def began(context: Context, event: RoamingBegan) -> None:
    """Make the plain master the outer master. The forwards move to the inner master."""
    host = context.with_master(event.name, event.outer.pid)
    if host is None:
        return
    host = context.put(
        host,
        master=event.outer,
        roaming=Roaming(
            event.inner,
            carrier=event.outer.pid,
            began_at=context.now,
            short_lives=host.roaming_start.failed,
            address=_address_of(event.outer),
            port=event.port,
        ),
        outer_path=event.outer.control_path,
        roaming_start=RoamingStart(),
        forwards=_to_be_opened(host),
        login=replace(host.login, times=(*host.login.times, context.now)),  # the inner login counts, too
    )
    move_along(context, host, event.outer.pid, event.inner)
    evidence = Evidence.of(inner=event.inner.pid, outer=event.outer.pid)
    if event.port is not None:
        evidence = evidence.plus(port=event.port or "none")
    context.because(host.name, 0, "roams", evidence)
    context.publish("roaming", host.name, evidence, pid=event.inner.pid)
    if host.user.held:  # the user disconnected meanwhile. The far relay is notified through the outer master
        context.do(EndRoaming(host.name, event.inner.pid))
        if host.roaming is not None:
            context.put(host, roaming=replace(host.roaming, ending=True))


def login_begun(context: Context, event: RoamingLoginBegun) -> None:
    """Begin to roam at the user's terminal, if the host should roam and its login needs the user."""
    host = context.get(event.name)
    if host is not None:
        begin_at_login(context, host)


def not_possible(context: Context, event: RoamingNotPossible) -> None:
    """Keep the plain master, and set when roaming may begin. A refused inner login counts for its account."""
    host = context.get(event.name)
    if host is None or host.roaming is not None or host.roaming_start.through != event.pid:
        return
    if host.user.held and event.code == "disconnected":  # that is no failure
        context.put(host, roaming_start=RoamingStart(refused_at=host.roaming_start.refused_at))
        return
    failed = host.roaming_start.failed + 1
    start = RoamingStart(
        retry_at=context.now + doubling(ROAMING_RETRY_FIRST_S, failed, RETRY_MAX_S),
        failed=failed,
        reason=event.said if event.lasting else None,
        refused_at=context.now if event.code == "refused" else host.roaming_start.refused_at,
        failure=event.said,
    )
    known = host.roaming_start.reason
    host = context.put(host, roaming_start=start)
    if event.code == "refused":
        context.put(host, login=replace(host.login, refused=(*host.login.refused, context.now)))
        context.do(Remember(host.name))
    context.because(
        host.name, 0, "stays-plain", Evidence.of(code=event.code, lasting=event.lasting, said=event.said)
    )
    if event.lasting and known != event.said:
        context.publish("roaming-failed", host.name, reason=event.said, code=event.code)


def found(context: Context, event: RoamingFound) -> None:
    """Store an inner master that an earlier agent left. Its sessions wait until there is an outer master."""
    host = context.get(event.name) or Host(event.name)
    if event.lost_path:
        earlier_inner.found(context, host, event)
        return
    context.put(
        host,
        roaming=Roaming(
            event.inner,
            away_since=None if event.by_port else context.now,
            address=event.address,
            port=event.port,
            by_port_since=context.now if event.by_port else None,
        ),
        outer_path=event.outer_path,
        forwards=host.forwards.request(),
    )
    context.because(host.name, 0, "roams", Evidence.of(inner=event.inner.pid, outer="none"))


def attached(context: Context, event: RoamingAttached) -> None:
    """Note that an outer master carries the link, so the sessions continue."""
    host = context.get(event.name)
    if host is None or host.roaming is None:
        return
    if host.draining is not None:
        earlier_inner.attached(context, host, host.roaming, event)
        return
    before, now = host.roaming, context.now
    since = before.by_port_since if before.by_port_since is not None else now
    by_port_since = since if event.by_port else None
    moved = (
        before.carrier != event.pid and by_port_since is None
    )  # otherwise the port moved the sessions before
    by_standby = host.spare is not None and host.spare.pid == event.pid
    roaming = replace(
        before,
        carrier=event.pid,
        attaching=None if before.attaching == event.pid else before.attaching,
        away_since=None,
        moving_since=None,
        failed=0,
        moves=before.moves + moved,
        sessions=event.sessions,
        # By the port, nothing shows that the outer master reached the far relay's machine.
        address=(None if event.by_port else _address_there(host, event.pid)) or before.address,
        elsewhere=None,
        trouble=None,
        sought_from=frozenset(),
        by_port_since=by_port_since,
    )
    context.put(host, roaming=roaming)
    took_ms = _took_ms(host, before, by_port_since if by_port_since is not None else now)
    evidence = Evidence.of(outer=event.pid, sessions=event.sessions, took_ms=took_ms)
    if event.by_port:
        evidence = evidence.plus(by="port")
    elif by_standby:
        evidence = evidence.plus(by="standby")
    context.because(host.name, 0, "attached", evidence)
    if moved:
        by = "standby" if by_standby else "channel"
        publish_moved(context, host, event.sessions, took_ms, by, event.pid)
    if by_standby and not event.by_port:
        standby.answered(context, context.get(host.name) or host)


def attached_by_port(context: Context, event: RoamingAttachedByPort) -> None:
    """Note that the sessions continue by the far relay's TCP port, whatever becomes of the outer master.

    If the host waited for a login of the user, it needs none any more.
    """
    host = context.get(event.name)
    if host is None or host.roaming is None:
        return
    before = host.roaming
    # Otherwise the outer master moved them before.
    moved = not host.linked or host.suspect or host.attempt is not None
    roaming = replace(
        before,
        by_port_since=context.now,
        away_since=None,
        moving_since=None,
        sessions=event.sessions,
        moves=before.moves + moved,
        port_doubted=False,
        port_failed=False,
        port_retry_at=NEVER,
        trouble=None,
    )
    waits = host.master is None and host.attempt is None and login_needs_user(host)
    context.put(host, roaming=roaming, problem=None if waits else host.problem)
    took_ms = _took_ms(host, before, context.now)
    evidence = Evidence.of(port=before.port, sessions=event.sessions, took_ms=took_ms)
    context.because(host.name, 0, "attached-by-port", evidence)
    if moved:
        publish_moved(context, host, event.sessions, took_ms, "port", None)


def port_failed(context: Context, event: RoamingPortFailed) -> None:
    """Report once that the far relay's TCP port cannot be reached, and try it again after a pause.

    Meanwhile the sessions continue by the next outer master.
    """
    host = context.get(event.name)
    if host is None or host.roaming is None:
        return
    before = host.roaming
    fails = before.port_fails + 1
    at = context.now + doubling(RETRY_FIRST_S, fails, RETRY_MAX_S)
    now_lost = before if before.by_port_since is None else lost(before, context.now)
    context.put(host, roaming=replace(now_lost, port_failed=True, port_fails=fails, port_retry_at=at))
    if not before.port_failed:
        context.because(host.name, 0, "port-failed", Evidence.of(port=before.port, code=event.code))


def _took_ms(host: Host, before: Roaming, now: float) -> float | None:
    """Return how long the sessions had no link, in milliseconds, None if it is unknown."""
    asked_at = host.standby.asked_at  # without a route, nothing else shows when the path was lost
    times = (before.moving_since, host.outage.began_at, before.away_since, asked_at)
    since = next((at for at in times if at is not None), None)
    return round((now - since) * 1e3, 1) if since is not None else None


def publish_moved(
    context: Context, host: Host, sessions: int, took_ms: float | None, by: str, pid: int | None
) -> None:
    """Report that the host's sessions continue on this network, by what, and after how long."""
    network = context.state.snapshot.name
    context.publish("moved", host.name, network=network, sessions=sessions, took_ms=took_ms, by=by, pid=pid)


def attach_failed(context: Context, event: RoamingAttachFailed) -> None:
    """Attach again after a pause. If the outer master reached another machine, wait for another outer master.

    The far relay runs on the first machine only. `seek_machine` may make an outer master that reaches it.
    """
    host = context.get(event.name)
    if host is None or host.roaming is None or host.roaming.attaching != event.pid:
        return
    if host.draining is not None:
        earlier_inner.attach_failed(context, host, host.roaming, event)
        return
    failed = host.roaming.failed + 1
    later = context.now + doubling(RETRY_FIRST_S, failed, RETRY_MAX_S)
    current = host.master is not None and host.master.pid == event.pid
    other = current and event.code == "other-machine"
    at = context.now if not current else float("inf") if other else later
    roaming = replace(
        host.roaming,
        attaching=None,
        failed=failed,
        retry_at=at,
        trouble=event.code,
        port_retry_at=min(host.roaming.port_retry_at, context.now),
    )
    context.put(host, roaming=replace(roaming, elsewhere=event.pid if other else roaming.elsewhere))
    context.because(host.name, 0, "attach-failed", Evidence.of(outer=event.pid, code=event.code))
    spare = host.standby.master
    if spare is None or spare.pid != event.pid:
        return
    if (
        event.code in OVERTAKEN
    ):  # the direct port was first: only a probe shows whether the spare master works
        context.do(SendProbe(host.name, spare))
        return
    context.do(Discard(host.name, spare))
    standby.lost(context, context.get(host.name) or host, event.code)


def _address_there(host: Host, pid: int) -> str | None:
    """Return the address at which an outer master reached its server, None if it is unknown."""
    new = host.attempt.ready if host.attempt is not None else None
    return next((_address_of(one) for one in (host.master, new) if one is not None and one.pid == pid), None)


def _address_of(outer: Master) -> str | None:
    return outer.peer if outer.direct else None


def away(context: Context, event: RoamingAway) -> None:
    """Note that no outer master carries the link."""
    host = context.get(event.name)
    if host is None or host.roaming is None or host.roaming.away_since is not None:
        return
    roaming, soon = host.roaming, False
    if roaming.by_port_since is not None:
        soon = context.now - roaming.by_port_since < ROAMING_SHORT_LIFE_S
    fails = roaming.port_fails + 1 if soon else 0
    retry_at = context.now + (doubling(RETRY_FIRST_S, fails - 1, RETRY_MAX_S) if fails > 1 else 0.0)
    context.put(host, roaming=replace(lost(roaming, context.now), port_fails=fails, port_retry_at=retry_at))
    context.because(host.name, 0, "away", Evidence.of(why=event.why))


def stalled(context: Context, event: RoamingStalled) -> None:
    """Probe the outer master now, because data of the user's sessions was not acknowledged."""
    host = context.get(event.name)
    if host is not None and host.draining is not None:
        earlier_inner.stalled(context, host)
    elif host is not None and host.linked:
        probe_again(context, host, older_s=0.0)


def ended(context: Context, event: RoamingEnded) -> None:
    """Note that the inner master ended, where no MasterEnded reports that."""
    host = context.get(event.name)
    if host is None or host.roaming is None or host.roaming.inner.pid != event.pid:
        return
    if host.draining is not None:
        earlier_inner.ended(context, host, event.pid, event.why)
    else:
        inner_ended(context, host, event.why, by_request=event.by_request)


def end_sessions(context: Context, host: Host) -> Host:
    """End the inner master, because the user requested a new connection without the old sessions. Return the host.

    The outer master stays. It gets the user's control path, and roaming begins again.
    """
    if host.roaming is None or host.roaming.ending:
        return host
    context.do(EndRoaming(host.name, host.roaming.inner.pid))
    return context.put(host, roaming=replace(host.roaming, ending=True, renewed=True))


def inner_ended(context: Context, host: Host, why: str, *, by_request: bool) -> None:
    """Keep the outer master as the host's plain master. If the user ended the inner master, end the outer one, too."""
    if host.roaming is None:
        return
    ended = host.roaming
    # Row 1: an on-use host is reconnected only if something failed, not if ControlPersist ended its idle master.
    intended = by_request or (host.wish.connect == "on-use" and not why)
    evidence = Evidence.of(pid=ended.inner.pid, why=why, by_request=by_request or ended.renewed)
    context.because(host.name, 1, "roaming-ended", evidence)
    host = context.put(
        host,
        roaming=None,
        roaming_start=RoamingStart() if ended.renewed else _next_start(ended, context.now),
        forwards=_to_be_opened(host) if host.master is not None else _closed(host),
    )
    if host.user.held or (ended.ending and not ended.renewed):
        _end_outer(context, host)
    elif ended.renewed:
        pass  # the user requested that, so there is nothing to report
    elif intended:  # like `ssh -O exit` on a plain master
        held = host.wish.connect == "always"
        host = context.put(host, user=replace(host.user, held=held), lost=False)
        _end_outer(context, host)
        forget_failure(context, host)
        context.do(Remember(host.name))
        context.publish("disconnected", host.name, evidence, wished=True)
    else:
        context.publish("roaming-failed", host.name, evidence, code="ended")


def _next_start(ended: Roaming, now: float) -> RoamingStart:
    """Return when roaming may begin again: at once, or after a growing pause if inner masters keep ending soon."""
    soon = now - ended.began_at < ROAMING_SHORT_LIFE_S
    failed = ended.short_lives + 1 if soon else 0
    pause_s = doubling(ROAMING_RETRY_FIRST_S, failed - 1, RETRY_MAX_S) if failed > 1 else 0.0
    return RoamingStart(retry_at=now + pause_s, failed=failed)


def moved(context: Context, event: MasterMoved) -> None:
    """Note the control path to which the agent moved a master."""
    host = context.with_master(event.name, event.pid)
    if host is None or host.master is None:
        return
    there = event.control_path != host.outer_path
    context.put(
        host,
        master=replace(host.master, control_path=event.control_path),
        outer_path=None if there else host.outer_path,
        roaming_start=replace(host.roaming_start, restoring=None if there else event.pid, taken=not there),
    )


def _end_outer(context: Context, host: Host) -> None:
    host, left = earlier_inner.leave_outer(context, host)
    if left:
        context.put(host, forwards=_closed(host))
    elif host.master is not None:
        context.put(host, killing=host.killing | {host.master.pid})
        context.do(Kill(host.name, host.master, gently=True))


def _to_be_opened(host: Host) -> Forwards:
    states = tuple(replace(f, state="opening", error=None) for f in host.forwards.states)
    return replace(host.forwards.request(), tried=0, states=states)


def _closed(host: Host) -> Forwards:
    states = tuple(replace(f, state="closed") for f in host.forwards.states)
    return replace(host.forwards.rest(), states=states)
