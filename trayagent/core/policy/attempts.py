"""Beginning an attempt, if everything around allows one more, and giving one up politely; pure."""

from __future__ import annotations

from dataclasses import replace

from trayagent.core.context import Context
from trayagent.core.facts.actions import Abort, Dial, DialBare, Discard, Remember, Resolve, TakeOver
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Attempt, Host, Purpose
from trayagent.core.facts.problems import Problem
from trayagent.core.policy.account_limits import refused_alike
from trayagent.core.policy.admission import Admission, admission, through_tunnel
from trayagent.core.policy.needs_user import waits_for_person
from trayagent.core.policy.racing import ways_out
from trayagent.core.policy.rate_limits import dropped, ended, may_abort, started, visit_of
from trayagent.core.policy.resolve_again import outdated
from trayagent.core.policy.retry import server_saw
from trayagent.core.policy.waits import before_login, network_of
from trayagent.core.policy.wanted import needs_bare_control, wanted
from trayagent.core.routes import is_private
from trayagent.core.texts import held_back

Step = tuple[bool, float | None]
"""What a step leaves: whether facts changed so that another may follow, and when to look again."""


def start(context: Context, host: Host, way: Admission, purpose: Purpose, row: int, evidence: str) -> Step:
    """Start an attempt, if nothing must be waited for."""
    now = context.now
    if host.attempt is not None:  # an unwanted one that is being left to finish
        return False, None
    alike = refused_alike(host, context.state.hosts, now) if purpose != "user" else None
    if alike is not None and not (host.master is not None and needs_bare_control(host)):
        hold(context, host, alike)
        return True, None
    wait = before_login(host, context.state, way, now, by_user=purpose == "user")
    if wait is not None:
        context.because(host.name, row, "wait", f"{evidence} {wait.evidence}")
        return False, wait.at
    bare = purpose != "user" and host.master is not None and needs_bare_control(host)
    if not bare and host.resolved is None:
        return False, None  # `ssh -G` has not answered yet
    if not bare and waits_for_person(host) and (other := _asking(context, host)) is not None:
        context.because(host.name, row, "wait", f"{evidence} person_asked_for={other}")
        return False, None
    if not bare and outdated(host, context.state):
        context.do(Resolve(host.name, lookups=True))
        return False, None
    number = begin(context, host, way, Attempt(context.state.next_attempt, purpose, now, bare=bare)).id
    if bare and host.master is not None and host.master.peer is not None:
        context.do(DialBare(host.name, number, host.master.peer, host.master.peer_port))
    else:
        background = host.wish.connect != "always"
        context.do(Dial(host.name, number, purpose, background))
        context.tell("connecting", host.name, evidence, purpose=purpose)
    done = "knock" if bare else "dial"
    context.because(host.name, row, done, f"{evidence} purpose={purpose} attempt={number}")
    return False, None


def ask_ssh(context: Context, name: str) -> None:
    """Run `ssh -G` for a host; it may look names up only where the host may be connected."""
    host = context.get(name)
    if host is not None:
        context.do(Resolve(name, lookups=admission(host, context.state, by_user=host.by_user).open))


def hold(context: Context, host: Host, alike: Host) -> None:
    """Hold a host's login back: the same one was refused to another host, which was told."""
    told = alike.problem.code if alike.problem is not None else "auth-denied"
    held = replace(alike.retry, count=host.retry.count, rearmed=host.retry.rearmed)
    context.put(host, retry=held, problem=held_back(host, alike, told), asked=False)
    context.do(Remember(host.name))
    context.because(host.name, 0, "held-back", f"refused={alike.name} kind={alike.retry.kind}")


def begin(context: Context, host: Host, way: Admission, attempt: Attempt) -> Attempt:
    """Put the attempt on its way from here, and count it."""
    place, source = (way.way.place, way.way.source) if way.way is not None else (None, None)
    attempt = replace(attempt, place=place, source=source, ways=ways_out(host, context.state.network))
    servers = started(context.state.servers, host.server, attempt.id, network_of(way), context.now)
    context.change(next_attempt=context.state.next_attempt + 1, servers=servers)
    context.put(host, attempt=attempt, asked=False)
    return attempt


def _asking(context: Context, host: Host) -> str | None:
    """Return the host for which a person is being asked already: two windows or blinking keys at once confuse."""
    for name in context.names:
        other = context.get(name)
        if other is None or other is host or other.attempt is None or not waits_for_person(other):
            continue
        attempt = other.attempt
        if not attempt.bare and not attempt.at_terminal and attempt.positive_at is None:
            return name
    return None


def control_possible(host: Host, way: Admission) -> bool:
    """Report whether a control of this host's living master can be made from here at all.

    Row 11: a bare one not through a ProxyCommand; at a private-use address only where the host was reached before.
    """
    if not needs_bare_control(host):
        return host.resolved is not None  # else `ssh -G` has not answered yet
    master = host.master
    if master is None or master.peer is None or not (master.direct or _tells_of_jump(host)):
        return False
    return not is_private(master.peer) or host.was_reached_at(way.way.place if way.way is not None else None)


def _tells_of_jump(host: Host) -> bool:
    """Report whether a knock at the jump host is control enough: the address of the connection to it is gone.

    Where that address is there, the silence may be that of the machine behind it, which no knock reaches.
    """
    jumped = host.resolved is not None and host.resolved.proxy_jump is not None
    return jumped and host.gone_at is not None and host.master is not None and host.master.carrier is None


def holds(context: Context, host: Host, attempt: Attempt, way: Admission) -> bool:
    """Report whether the connection that an attempt is making may still get through from here."""
    if _superseded(context, host, attempt, way):
        return False
    if attempt.source is None or way.way is None or attempt.source == way.way.source:
        return True
    return context.state.network.has_address(attempt.source)


def _superseded(context: Context, host: Host, attempt: Attempt, way: Admission) -> bool:
    """Report whether the host's VPN came up while a login without it was tried."""
    if host.learned_vpn is None or way.way is None or attempt.place is None:
        return False
    return through_tunnel(way.way, context.state) and attempt.place.egress != way.way.interface


def give_up_attempt(context: Context, host: Host) -> Host:
    """End a host's attempt politely, or let it finish where one more cut handshake would be punished."""
    attempt = host.attempt
    if attempt is None or attempt.taking_over or attempt.unwanted or attempt.at_prompt:
        return host
    if attempt.ready is not None:
        context.do(Discard(host.name, attempt.ready))
    elif attempt.refused is None and attempt.positive_at is None:
        # Where its own address is gone the server sees no difference.
        cut = attempt.source is not None and not context.state.network.has_address(attempt.source)
        if not cut and not may_abort(context.state.servers, attempt.id, context.now):
            return context.put(host, attempt=replace(attempt, unwanted=True))
        context.do(Abort(host.name, attempt.id))
        context.change(servers=ended(context.state.servers, attempt.id, context.now, "cut"))
    return context.put(host, attempt=None)


def count_failure(context: Context, number: int, failure: Failure, jitter: float) -> None:
    """Count a failed attempt against its server's budget; one that no server saw spends nothing."""
    found = visit_of(context.state.servers, number)
    if found is None:
        return
    key, visit = found
    seen = server_saw(failure, established=visit.seen)
    servers = ended(context.state.servers, number, context.now, "failed" if seen else "unseen")
    if failure.kind == "dropped":
        servers = dropped(servers, key, visit.network, context.now, jitter)
    context.change(servers=servers)


def put_in_place(context: Context, host: Host, control: Attempt, row: int, evidence: str) -> Step:
    """Let the attempt's new master take the control path over; the old one, if any, is killed for it."""
    old, new = host.master, control.ready
    if new is None:
        return False, None
    context.because(host.name, row, "replace" if old is not None else "put in place", evidence)
    if old is not None and row:
        context.tell("master-stale", host.name, evidence, row=row, pid=old.pid)
    context.do(TakeOver(host.name, control.id, new, old))
    killing = host.killing | ({old.pid} if old is not None else frozenset())
    replaces = old.pid if old is not None else None
    context.put(host, attempt=replace(control, taking_over=True, replaces=replaces), killing=killing)
    return False, None


def tell_given_up(context: Context, host: Host, reason: str) -> None:
    """Let everybody know that the user ends the wish for a host that is away; one that was idle is no news."""
    if host.master is None and (wanted(host) or host.lost):
        context.tell("disconnected", host.name, reason)


def tell_failure(context: Context, host: Host, problem: Problem, *, there: bool = False) -> None:
    """Let everybody know; whoever is `there`, at the terminal, need not be called."""
    retry_in_s = None if host.retry.at is None else round(host.retry.at - context.now, 3)
    tell_connect_failed(context, host, problem, retry_in_s=retry_in_s)
    if problem.code in {"auth-denied", "passphrase-needed"} and retry_in_s is None and not there:
        context.tell("sign-in-needed", host.name, problem.title)


def tell_connect_failed(context: Context, host: Host, problem: Problem, **details: object) -> None:
    """Let everybody know, and whether anybody misses the host: the history begins no outage where nobody does."""
    missed = None if _missed(host) else False
    context.tell("connect-failed", host.name, problem.title, code=problem.code, missed=missed, **details)


def _missed(host: Host) -> bool:
    """Report whether the host is away, or may be, and wanted for more than the word that failed."""
    if host.master is not None:
        return host.suspect
    return wanted(replace(host, asked=False, attempt=None))
