"""What the user asked for; pure."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from trayagent.core.context import Turn
from trayagent.core.facts.actions import Abort, Kill, Remember, SendProbe
from trayagent.core.facts.events import (
    CredentialsChanged,
    LoginBegun,
    UserDisconnect,
    UserLooked,
    UserPause,
    UserReconnect,
    UserResume,
)
from trayagent.core.facts.hosts import Attempt, Host, Probe
from trayagent.core.facts.time_constants import LOOK_AGAIN_S
from trayagent.core.policy.admission import gate
from trayagent.core.policy.attempts import ask_ssh, begin, give_up_attempt, tell_given_up
from trayagent.core.policy.rate_limits import ended, forgiven
from trayagent.core.policy.retry import CREDENTIAL_KINDS, REFUSED_KINDS, with_new_credentials
from trayagent.core.routes import next_lookups, underlay


def reconnect(turn: Turn, event: UserReconnect) -> None:
    """Connect again now: the user's word ends pauses, holds and back-offs of these hosts."""
    for name in event.names:
        host = turn.get(name)
        if host is None or host.stranger or host.at_prompt:
            continue  # where a person logs in already, that is what is waited for
        remembered = host.held or host.paused_until is not None or host.retry.kind in REFUSED_KINDS
        retry = replace(host.retry, at=turn.now, kind=None, count=0)
        host = turn.put(host, asked=True, held=False, paused_until=None, retry=retry, problem=None)
        attempt = host.attempt
        if attempt is not None and (attempt.bare or attempt.refused is not None):
            host = give_up_attempt(turn, host)  # nothing can become of it
        elif attempt is not None and not attempt.taking_over:
            host = turn.put(host, attempt=replace(attempt, purpose="user", unwanted=False), asked=False)
        turn.change(servers=forgiven(turn.state.servers, host.server))
        if host.resolved is None:
            ask_ssh(turn, name)  # it failed, or nobody asked: what stood in the way may be gone
        turn.because(name, 0, "user", "asked=reconnect")
        if remembered:
            turn.do(Remember(name))


def login_begun(turn: Turn, event: LoginBegun) -> None:
    """A person logs in at a terminal: their word, as `reconnect` is, and the attempt is theirs."""
    host = turn.get(event.name) or Host(event.name)
    if host.stranger or (host.attempt is not None and (host.attempt.taking_over or host.attempt.at_terminal)):
        return
    host = replace(host, resolved=event.resolved, hop=event.hop)
    way = gate(host, turn.state, by_user=True)
    network = turn.state.network
    unasked = underlay(network) is not None and not network.matched.keys() >= set(next_lookups(host))
    if not way.open and not (way.code == "unreachable" and unasked):
        return
    host = _without_attempt(turn, host)
    remembered = host.held or host.paused_until is not None
    host = turn.put(host, held=False, paused_until=None)
    turn.change(servers=forgiven(turn.state.servers, host.server))
    attempt = Attempt(turn.state.next_attempt, "user", turn.now, at_terminal=True)
    attempt = begin(turn, host, way, attempt)
    turn.because(event.name, 0, "user", f"asked=login attempt={attempt.id}")
    turn.tell("connecting", event.name, "user=login", purpose="user")
    if remembered:
        turn.do(Remember(event.name))


def _without_attempt(turn: Turn, host: Host) -> Host:
    """End what runs by itself, also where one more cut handshake is impolite: the person is here now."""
    host = give_up_attempt(turn, turn.put(host))
    if host.attempt is None:
        return host
    turn.do(Abort(host.name, host.attempt.id))
    turn.change(servers=ended(turn.state.servers, host.attempt.id, turn.now, "cut"))
    return turn.put(host, attempt=None)


def disconnect(turn: Turn, event: UserDisconnect) -> None:
    """Take these down and keep them down."""
    for name in event.names:
        host = turn.get(name)
        if host is None:
            continue
        tell_given_up(turn, host, "user=disconnect")
        host = turn.put(host, held=True, asked=False, lost=False, problem=None)
        if host.attempt is not None:
            turn.put(host, attempt=replace(host.attempt, purpose="connect"))
            give_up_attempt(turn, turn.state.hosts[name])
            host = turn.state.hosts[name]
        turn.because(name, 0, "user", "asked=disconnect")
        if host.master is not None:
            turn.put(host, killing=host.killing | {host.master.pid})
            turn.tell("disconnected", name, "user=disconnect", pid=host.master.pid)
            turn.do(Kill(name, host.master, gently=True))
        turn.do(Remember(name))


def pause(turn: Turn, event: UserPause) -> None:
    """Hands off: these hosts, or everything."""
    until = inf if event.for_s is None else turn.now + event.for_s
    if not event.names:
        turn.change(paused_until=until)
    for name in event.names:
        host = turn.get(name)
        if host is not None:
            turn.put(host, paused_until=until)
            turn.do(Remember(name))
    for name in event.names or turn.names:
        host = turn.get(name)
        if host is not None:
            turn.put(give_up_attempt(turn, host), asked=False, forwards_owed=False)
    for name in event.names or ("",):
        turn.tell("paused", name, "user=pause", for_s=event.for_s)


def resume(turn: Turn, event: UserResume) -> None:
    """End a pause; what changed meanwhile is judged now."""
    if not event.names:
        turn.change(paused_until=None)
    for name in event.names or turn.names:
        host = turn.get(name)
        if host is None or host.paused_until is None:
            continue
        turn.put(host, paused_until=None)
        turn.do(Remember(name))
    for name in event.names or ("",):
        turn.tell("resumed-by-user", name, "user=resume")


def looked(turn: Turn, event: UserLooked) -> None:
    """Row 12: ask living masters again whose last proof is old, so that what is shown is true."""
    now = turn.now
    for name in event.names or turn.names:
        host = turn.get(name)
        if host is None or host.master is None or host.suspect or host.probe is not None or host.stranger:
            continue
        quiet = turn.state.paused(host, now) or host.wish.connect == "never"
        if quiet or now - host.proof_at < LOOK_AGAIN_S or not gate(host, turn.state).open:
            continue
        turn.put(host, probe=Probe(now), observed=None)
        turn.do(SendProbe(name, host.master))


def credentials_changed(turn: Turn, event: CredentialsChanged) -> None:
    """A key, an agent or known_hosts changed: what waits for that may try again."""
    for name in event.names or turn.names:
        host = turn.get(name)
        if host is not None and host.login == "unlocked":
            host = turn.put(host, login="quiet")  # the ssh-agent may have the key by now
        if host is None or host.retry.kind not in CREDENTIAL_KINDS:
            continue
        turn.put(host, retry=with_new_credentials(host, turn.now))
        turn.do(Remember(name))
        turn.because(name, 0, "re-arm", "credentials=changed")
