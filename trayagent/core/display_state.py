"""Derives the displayed state, problem and forwards of a host from its facts; pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from trayagent.core.facts.host_table import HostTable
from trayagent.core.facts.hosts import ForwardState, Host
from trayagent.core.facts.problems import Code, Problem
from trayagent.core.facts.state import State
from trayagent.core.policy.admission import Admission, admission
from trayagent.core.policy.attach_by_port import awaits_port, carried_by_port
from trayagent.core.policy.logins.login_needs_user import login_needs_user
from trayagent.core.policy.logins.login_waits import Wait, before_login
from trayagent.core.policy.logins.when_to_retry import REFUSED_KINDS
from trayagent.core.policy.shared_connection import judging_owner
from trayagent.core.policy.staleness.judge_master import judge
from trayagent.core.policy.wanted_connection import wanted, wanted_forwards
from trayagent.core.problem_texts import (
    admission_problem,
    other_machine,
    refused_next_time,
    relay_unreachable,
    user_needed,
    wait_problem,
)

DisplayState = Literal[
    "connected",
    "checking",
    "connecting",
    "waiting",
    "offline",
    "needs-vpn",
    "needs-sign-in",
    "failed",
    "paused",
    "idle",
]

# The state of a host with a problem, by its code. With any other code, the host waits for a retry.
STATE_OF: dict[Code, DisplayState] = {
    "passphrase-needed": "needs-sign-in",
    "auth-denied": "needs-sign-in",
    "host-key-unknown": "needs-sign-in",
    "vpn-needs-sign-in": "needs-sign-in",
    "too-many-auth-failures": "failed",
    "host-key-changed": "failed",
    "no-common-algorithm": "failed",
    "config-error": "failed",
    "ssh-missing": "failed",
    "disk-full": "failed",
    "control-path-too-long": "failed",
    "control-path-taken": "failed",
    "vpn-down": "needs-vpn",
    "captive-portal": "offline",
    "network-not-allowed": "offline",
    "not-here": "offline",
    "unreachable": "offline",
}
NEEDS_USER: frozenset[DisplayState | None] = frozenset({"needs-sign-in", "failed"})
"""The states that only the user can end, directly or by a change that they make."""

_GOES_ON: frozenset[DisplayState] = frozenset({"waiting", "connecting", "checking", "offline"})


def display_state(host: Host, state: State, now: float) -> DisplayState:
    """Return the state that status, menu and notifications show."""
    if state.paused(host, now):
        return "paused"
    owner = judging_owner(host, state, now)
    if owner is not None:
        return display_state(owner, state, now)
    by_port = _by_port(host, state)
    if by_port is not None:
        return by_port
    if host.master is not None:
        return _with_master(host, state, now)
    if _logging_in(host):
        return "connecting"
    if not wanted(host):
        return _unwanted(host)
    admitted = admission(host, state, by_user=host.by_user)
    if admitted.code is not None:
        return STATE_OF.get(admitted.code, "offline")
    if login_needs_user(host):
        failed = host.problem is not None and STATE_OF.get(host.problem.code) == "failed"
        return "failed" if failed else "needs-sign-in"
    return _after_failure(host, state, now)


def _by_port(host: Host, state: State) -> DisplayState | None:
    """Return the state of a host whose sessions the far relay's port carries or may soon carry, else None."""
    if host.roaming is None or host.roaming.port is None or (host.master is not None and not host.suspect):
        return None
    admitted = admission(host, state, by_user=host.by_user)
    if carried_by_port(host, admitted):
        return "connected"
    waits = host.master is None and host.attempt is None and admitted.open and login_needs_user(host)
    return "connecting" if waits and awaits_port(host, admitted) else None


def display_problem(
    host: Host, state: State, now: float, shown: DisplayState | None = None
) -> Problem | None:
    """Return the host's current problem, or None if there is none or the user does not want the host up.

    If there is nothing for the user to do, the hint says that the agent tries again. `shown` is the result of
    `display_state`, if known.
    """
    shown = shown or display_state(host, state, now)
    problem = _problem(host, state, now, shown)
    if problem is not None and not problem.hint and shown in _GOES_ON:
        return replace(problem, hint="The agent tries again")
    return problem


def _problem(host: Host, state: State, now: float, shown: DisplayState) -> Problem | None:
    if shown == "paused" or (shown == "idle" and host.user.held):
        return None
    owner = judging_owner(host, state, now)
    if owner is not None and owner.suspect:
        return _problem(owner, state, now, shown)
    if shown == "idle":
        return host.problem  # show the error of the user's own attempt
    if host.master is not None and not host.suspect:
        if host.waits_for_machine:
            return other_machine(host.name)
        if host.waits_for_relay:
            return relay_unreachable(host.name, host.roaming.trouble if host.roaming else None)
        refused = host.problem if host.retry.kind in REFUSED_KINDS else None
        return refused_next_time(host, refused) if refused else host.problem or host.agent_socket
    admitted = admission(host, state, by_user=host.by_user)
    if carried_by_port(host, admitted):
        return host.agent_socket
    waits = host.master is None and host.attempt is None and login_needs_user(host)
    waits = waits and not awaits_port(host, admitted)
    only_user = host.problem is not None and STATE_OF.get(host.problem.code) in NEEDS_USER
    # Such a host does not come back automatically, not even on another network.
    stuck = host.master is None and (waits or only_user)
    if not admitted.open and not (stuck and admitted.code == "unreachable"):
        return admission_problem(host, admitted)
    if (waits and not only_user) or host.problem is not None:
        return user_needed(host) if waits and not only_user else host.problem
    delayed = delay(host, state, now)
    return wait_problem(host, delayed.wait) if delayed is not None and delayed.wait is not None else None


class Delay(Struct, frozen=True):
    """A wanted login that is not made yet: what it waits for, and until when (None if no time is known)."""

    at: float | None
    wait: Wait | None = None


def delay(host: Host, state: State, now: float) -> Delay | None:
    """Return what delays the host's next login. Return None if no login is due, or if nothing delays it.

    One view needs this several times for each host, so the answers for the last state and time are cached.
    """
    hosts = state.hosts
    if not isinstance(hosts, HostTable) or hosts.reads is not None:  # a decision notes what it reads
        return _delay(host, state, now)
    if _last.state is not state or _last.version is not hosts.version or _last.now != now:
        _last.state, _last.version, _last.now, _last.delays = state, hosts.version, now, {}
    found = _last.delays.get(host.name)
    if found is None or found[0] is not host:
        found = _last.delays[host.name] = host, _delay(host, state, now)
    return found[1]


class _Last:
    """The delays of hosts in one state, at one time."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.version: object = None
        self.now = 0.0
        self.delays: dict[str, tuple[Host, Delay | None]] = {}


_last = _Last()


def _delay(host: Host, state: State, now: float) -> Delay | None:
    admitted = admission(host, state, by_user=host.by_user)
    if not admitted.open or state.paused(host, now):
        return None
    if host.master is not None:
        return _delay_beside(host, state, admitted, now)
    if _logging_in(host) or not wanted(host) or login_needs_user(host) or host.retry.at is None:
        return None
    wait = before_login(host, state, admitted, now, by_user=host.by_user)
    if wait is not None:
        return Delay(None if wait.at is None else max(wait.at, host.retry.at), wait)
    return Delay(host.retry.at) if host.retry.at > now else None


def _delay_beside(host: Host, state: State, admitted: Admission, now: float) -> Delay | None:
    """Return what delays the login that the user requested beside a living master, or the control of that master."""
    if host.user.reconnect and host.attempt is None and host.resolved is not None:
        wait = before_login(host, state, admitted, now, by_user=True)
        return Delay(wait.at, wait) if wait is not None else None
    verdict = judge(host, state, admitted, now)
    if not verdict.queued:
        return None
    return Delay(verdict.check_at if verdict.wait is None else verdict.wait.at, verdict.wait)


def unreachable_problem(host: Host, state: State) -> Problem | None:
    """Return why even a request of the user could not connect an idle host now, or None if it could."""
    admitted = admission(host, state, by_user=True)
    if admitted.open or wanted(host):
        return None
    return replace(admission_problem(host, admitted), hint=f"Then: trayagent reconnect {host.name}")


def _with_master(host: Host, state: State, now: float) -> DisplayState:
    if not host.suspect:
        waits = host.waits_for_machine or host.waits_for_relay
        return "connected" if host.linked else "waiting" if waits else "connecting"
    admitted = admission(host, state, by_user=host.by_user)
    if admitted.code is not None:
        return STATE_OF.get(admitted.code, "offline")
    busy = host.attempt is not None and not host.attempt.is_banner_check
    if busy and host.doubt.gone_at is not None:
        return "connecting"
    if not busy and host.problem is not None:
        return _state_of_problem(host)
    return "checking" if delay(host, state, now) is None else "waiting"


def _logging_in(host: Host) -> bool:
    attempt = host.attempt
    return attempt is not None and not attempt.unwanted and not attempt.is_banner_check


def _unwanted(host: Host) -> DisplayState:
    if host.user.held or host.problem is None or host.wish.connect == "never":
        return "idle"
    shown = _state_of_problem(host)
    return shown if shown in NEEDS_USER else "idle"  # no retry is due for a host that is not wanted


def _after_failure(host: Host, state: State, now: float) -> DisplayState:
    if host.problem is not None:
        return _state_of_problem(host)
    return "connecting" if delay(host, state, now) is None else "waiting"


def _state_of_problem(host: Host) -> DisplayState:
    if host.problem is None:
        return "waiting"
    if host.problem.code == "unreachable":
        return "waiting"  # a route exists and the host may be connected, so the server is away
    if host.problem == user_needed(host):
        return "needs-sign-in"
    if host.retry.kind == "proxy-command" and host.retry.stopped:
        return "failed"  # no retry is due here; a new network or the user starts the next attempt
    return STATE_OF.get(host.problem.code, "waiting")


def display_forwards(host: Host, state: State) -> tuple[ForwardState, ...]:
    """Return the forwards to show with a host. While its connection is in doubt, show none of them as open."""
    if host.roaming is not None and host.roaming.by_port_since is not None:
        doubtful = not carried_by_port(host, admission(host, state))
    else:
        doubtful = host.suspect or (host.roaming is not None and not host.linked)
    if doubtful:
        # An open forward is of no use while its connection is in doubt.
        return tuple(replace(f, state="closed") if f.state != "failed" else f for f in host.forwards.states)
    if host.forwards.states or not host.wish.listed:
        return host.forwards.states
    return tuple(ForwardState(f, "closed") for f in wanted_forwards(host))
