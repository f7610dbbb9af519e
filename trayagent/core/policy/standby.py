"""Makes, keeps and uses a host's spare master on a second interface; pure. See docs/roaming.md, *Standby*.

A spare master costs one login for each pair of networks. It is idle, and nothing watches it but ssh's own keep-alive.
It is used when the host's own connection loses its path, or before any new login. It is ended as soon as a rule forbids
it, above all when a tunnel comes up.
"""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.actions import Abort, Dial, Discard, Mute
from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.standby import Standby
from trayagent.core.facts.state import State
from trayagent.core.facts.time_constants import (
    CARRIER_BACK_S,
    NEVER,
    STANDBY_LONG_LIFE_S,
    STANDBY_LOST_S,
    STANDBY_RETRY_FIRST_S,
    STANDBY_RETRY_MAX_S,
    STANDBY_SETTLED_S,
)
from trayagent.core.policy.admission import Admission
from trayagent.core.policy.ask_standby import ask, path_is_lost
from trayagent.core.policy.begin_attempt import give_up_attempt, put_in_place
from trayagent.core.policy.logins.account_lockout import refused_alike
from trayagent.core.policy.logins.cut_logins import abort
from trayagent.core.policy.logins.doubling_pause import doubling
from trayagent.core.policy.logins.login_limits_per_server import ended, may_abort, started
from trayagent.core.policy.logins.login_waits import origin_of, turn_of
from trayagent.core.policy.logins.server_names import names_of
from trayagent.core.policy.logins.when_to_retry import REFUSED_KINDS
from trayagent.core.policy.resolve_again import outdated
from trayagent.core.policy.spare_route import (
    first_interface,
    fits,
    obstacle_at,
    obstacle_of_host,
    route_through,
    spare_of,
    unmetered,
)
from trayagent.core.policy.wanted_connection import wanted
from trayagent.core.usable_routes import beside_tunnel

_SILENT = frozenset({"tunnel", "vpn"})
"""The reasons for which a spare master must not send another packet."""


def mute_beside_tunnel(context: Context, host: Host) -> Host:
    """Keep a master that was a spare one from sending beside a tunnel, for as long as that is up. Return the host.

    It is bound to its interface, so it does not follow the route into the tunnel as any other connection does.
    """
    master = host.master
    if master is None or not master.spare or master.bound is None:
        return host
    muted = beside_tunnel(master, context.state.snapshot)
    if muted == master.muted:
        return host
    context.do(Mute(host.name, master, muted))
    if muted or master.muted:
        context.because(host.name, 0, "muted" if muted else "unmuted", Evidence.of(interface=master.bound))
    return context.put(host, master=replace(master, muted=muted))


def tend(context: Context, host: Host, *, paused: bool) -> tuple[Host, float | None]:
    """Do what the host's spare master needs next. Return the host, and when to continue."""
    host = mute_beside_tunnel(context, host)
    if not host.wish.standby and host.standby.master is None and host.standby.attempt is None:
        return host, None
    host = _end_if_over(context, host)
    standby = host.standby
    if standby.asked_at is not None:
        return _await_answer(context, host, standby.asked_at)
    if standby.attempt is not None and (paused or host.suspect or host.master is None):
        host = _give_up_login(context, host, standby.attempt)
    if paused:
        return host, None
    if standby.master is not None:
        return (ask(context, host), None) if path_is_lost(host) and _may_switch(host) else (host, None)
    if host.standby.attempt is not None:
        return host, None
    return host, _begin(context, host)


def put_spare_in_place(context: Context, host: Host) -> tuple[bool, float | None]:
    """Move the spare master that answered to the control path, if it need not wait for a verdict on the old master.

    The old master's address may be there although its path is lost (a pulled cable). Then the old one drains, because
    its connection continues when the path returns. If the sessions moved already, give the cable a moment to return.
    Return whether the host waits for that, or for the take-over, and until when.
    """
    attempt = host.attempt
    if attempt is None or not attempt.standby or attempt.taking_over:
        return False, None
    if host.master is not None and (not path_is_lost(host) or host.doubt.gone_at is not None):
        return False, None
    back_until = attempt.started_at + CARRIER_BACK_S
    if host.master is not None and host.roaming is not None and context.now < back_until:
        return True, back_until
    evidence = Evidence.of(path="lost", standby="answers")
    row, drain = (1, False) if host.master is None else (0, True)
    put_in_place(context, host, attempt, row, evidence, drain=drain)
    return True, None


def answered(context: Context, host: Host) -> None:
    """Make the spare master, which answered, the host's next master. It is the control of the old one."""
    standby, spare = host.standby, host.standby.master
    if spare is None or standby.asked_at is None:
        return
    host = context.put(host, standby=replace(standby, asked_at=None))
    if (host.master is not None and not host.suspect) or not _may_switch(host):
        return
    host = _without_attempt(context, host)
    number = context.state.next_attempt
    context.change(next_attempt=number + 1)
    attempt = Attempt(
        number,
        "control" if host.master is not None else "connect",
        standby.asked_at,
        network=standby.network,
        source=standby.source,
        established_at=standby.asked_at,
        positive_at=context.now,
        peer=spare.peer,
        ready=spare,
        standby=True,
    )
    began_at = host.outage.began_at if host.outage.began_at is not None else standby.asked_at
    outage = replace(host.outage, began_at=began_at)
    context.put(host, attempt=attempt, standby=_after(standby, context.now, used=True), outage=outage)
    answer_ms = round((context.now - standby.asked_at) * 1e3, 1)
    evidence = Evidence.of(standby=spare.pid, interface=standby.interface, took_ms=answer_ms)
    context.because(host.name, 0, "standby-answers", evidence)


def lost(context: Context, host: Host, why: str) -> None:
    """Note that the spare master is gone, or that its login failed. The next one waits, longer after each loss."""
    interface = host.standby.interface
    standby = _after(host.standby, context.now)
    context.put(host, standby=standby)
    evidence = Evidence.of(interface=interface, why=why, retry_s=f"{standby.retry_at - context.now:.0f}")
    context.because(host.name, 0, "standby-lost", evidence)


def retried(host: Host) -> Standby:
    """Return the standby after the user's request: the next login may begin, whatever the last one failed by."""
    return replace(host.standby, failed=0, retry_at=NEVER, refused=False)


def _end_if_over(context: Context, host: Host) -> Host:
    """End the spare master, or its login, if a rule forbids it now."""
    standby, spare = host.standby, host.standby.master
    if spare is None and standby.attempt is None and not (host.attempt is not None and host.attempt.standby):
        return host
    why = _why_over(host, context.state)
    if why is None:
        return host
    if host.attempt is not None and host.attempt.standby and not host.attempt.taking_over:
        host = give_up_attempt(context, host)
        standby, spare = host.standby, host.standby.master
    silently = why in _SILENT
    if spare is not None:
        context.do(Discard(host.name, spare, silently))
    if standby.attempt is not None:
        host = _cut(context, host, standby.attempt, silently=silently)
    evidence = Evidence.of(interface=standby.interface, why=why, silently=silently)
    context.because(host.name, 0, "standby-ended", evidence)
    return context.put(host, standby=_after(standby, context.now))


def _after(standby: Standby, now: float, *, used: bool = False) -> Standby:
    """Return the standby without its spare master. The pause before the next login doubles each time.

    A spare master that was used, or lived long, did its work. But in a flapping network even those come too often.
    """
    lived = standby.master is not None and now - standby.ready_at >= STANDBY_LONG_LIFE_S
    failed = 1 if lived else standby.failed + 1
    pause_s = doubling(STANDBY_RETRY_FIRST_S, failed, STANDBY_RETRY_MAX_S)
    first_use = used and failed == 1
    return Standby(failed=failed, retry_at=now if first_use else now + pause_s, refused=standby.refused)


def _why_over(host: Host, state: State) -> str | None:
    """Return why the spare master must end now, or its login, None if it may stay."""
    standby = host.standby if host.standby.interface else _of_attempt(host)
    obstacle = obstacle_of_host(host, state)
    if obstacle is not None:
        return obstacle
    face = state.snapshot.interface(standby.interface)
    if face is None or not any(address.ip == standby.source for address in face.addresses):
        return "address-gone"
    if not unmetered(state, face):
        return "metered"
    if standby.master is not None and host.master is not None and not fits(host.master, standby.master):
        return "other-server"
    if host.master is None or host.suspect or host.path is None:
        return None
    if first_interface(host) == standby.interface:
        return "same-interface"
    # While its interface has no carrier, its connection may continue later.
    route = route_through(state.snapshot, host.master.peer or "", face)
    if route is None:
        return None
    if standby.network is not None and route.network.differs(standby.network):
        return "network-changed"
    return obstacle_at(host, state, face, route)


def _of_attempt(host: Host) -> Standby:
    attempt = host.attempt
    network = attempt.network if attempt is not None else None
    return Standby(
        interface=network.egress if network is not None else "",
        source=attempt.source if attempt is not None else None,
        network=network,
    )


def _await_answer(context: Context, host: Host, asked_at: float) -> tuple[Host, float | None]:
    """Wait for the answer of the spare master. Without one, it is lost."""
    if host.master is not None and not host.suspect:  # the old master answered
        return context.put(host, standby=replace(host.standby, asked_at=None)), None
    if context.now < asked_at + STANDBY_LOST_S:
        return host, asked_at + STANDBY_LOST_S
    if host.standby.master is not None:
        context.do(Discard(host.name, host.standby.master))
    lost(context, host, "silent")
    return context.get(host.name) or host, None


def _may_switch(host: Host) -> bool:
    """Report whether no login of the user, and no take-over, is in progress."""
    attempt = host.attempt
    busy = attempt is not None and (attempt.taking_over or attempt.at_terminal or attempt.purpose == "user")
    return not busy and not host.user.reconnect and not host.ending


def _without_attempt(context: Context, host: Host) -> Host:
    """End a login in progress, because the spare master makes it unnecessary."""
    host = give_up_attempt(context, host)
    if host.attempt is None:
        return host
    return abort(context, host, host.attempt)


def _give_up_login(context: Context, host: Host, number: int) -> Host:
    """End the login in progress politely. If the server may penalize one more cut handshake, let it finish."""
    if not may_abort(context.state.servers, number, context.now, names_of(host.server, context.state.hosts)):
        return host
    host = _cut(context, host, number)
    return context.put(host, standby=replace(host.standby, attempt=None))


def _cut(context: Context, host: Host, number: int, *, silently: bool = False) -> Host:
    """End the login of a spare master. It counts as one in progress until the agent reports how it ended."""
    context.do(Abort(host.name, number, silently=silently))
    context.change(servers=ended(context.state.servers, number, context.now, "cut"))
    cut = (*host.login.cut, (number, context.now))
    return context.put(host, login=replace(host.login, cut=cut))


def _begin(context: Context, host: Host) -> float | None:
    """Begin the login of a spare master if nothing else needs one. Return when to continue."""
    standby, master, state, now = host.standby, host.master, context.state, context.now
    if master is None or master.peer is None or not _is_calm(host) or standby.refused:
        return None
    route = spare_of(host, state).route
    if route is None:
        return None
    settled_at = max(state.network_at, state.woke_at, host.login.worked_at) + STANDBY_SETTLED_S
    at = max(settled_at, standby.retry_at)
    if now < at:
        return at
    if (
        outdated(host, state)
        or _others_first(context, host)
        or refused_alike(host, state.hosts, now) is not None
    ):
        return None
    admitted = Admission(route)
    wait = turn_of(host, state, admitted, now)
    if wait is not None:
        return wait.at
    number = state.next_attempt
    servers = started(state.servers, host.server, number, origin_of(host, state, admitted), now)
    context.change(next_attempt=number + 1, servers=servers)
    context.put(
        host,
        standby=replace(
            standby, attempt=number, interface=route.interface, source=route.source, network=route.network
        ),
    )
    interface = route.interface
    context.do(Dial(host.name, number, "standby", background=False, address=master.peer, interface=interface))
    evidence = Evidence.of(attempt=number, interface=route.interface, address=master.peer)
    context.because(host.name, 0, "standby-begins", evidence)
    return None


def _is_calm(host: Host) -> bool:
    """Report whether the host is well, and no other login to it is in progress or about to begin."""
    busy = host.attempt is not None or host.trial.running is not None or host.trial.wanted_at is not None
    doubtful = host.suspect or host.doubt.probe is not None or host.path is None or host.ending
    begins = host.wish.roam and host.roaming is None and host.roaming_start.failure is None
    refused = host.retry.stopped or host.retry.kind in REFUSED_KINDS
    return not (busy or doubtful or begins or refused or host.user.reconnect or host.roaming_start.through)


def _others_first(context: Context, host: Host) -> bool:
    """Report whether another host of the server logs in, or waits to. Spare masters come last."""
    return any(
        other.name != host.name and other.server == host.server and _logs_in(other, context.now)
        for other in context.hosts.values()
    )


def _logs_in(host: Host, now: float) -> bool:
    if host.draining is not None:
        return False
    if host.attempt is not None or host.standby.attempt is not None:
        return True
    due = host.retry.due(now) and host.outage.offline_since is None
    return host.master is None and wanted(host) and due
