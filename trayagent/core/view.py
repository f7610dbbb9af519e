"""Builds the view for clients as a plain dict; pure. docs/scripting.md explains it under `status --json`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from msgspec import Struct

from trayagent.core.display_state import DisplayState, delay, display_forwards, display_problem, display_state
from trayagent.core.facts.hosts import ForwardState, Host
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.roaming import Roaming
from trayagent.core.facts.state import State
from trayagent.core.facts.vpns import VpnObservation
from trayagent.core.policy.admission import admission
from trayagent.core.policy.attach_by_port import carried_by_port
from trayagent.core.policy.begin_attempt import control_possible
from trayagent.core.policy.begin_roaming import why_not_roaming
from trayagent.core.policy.limits_beside_master import left_alone
from trayagent.core.policy.spare_route import spare_of
from trayagent.core.policy.wanted_connection import configured_forwards
from trayagent.core.problem_texts import vpn_problem
from trayagent.core.vpn_state import manager_report, vpn_display_state, vpn_interface_up

SCHEMA = 1


class AgentFacts(Struct, frozen=True):
    """The facts of the agent itself. `started` is RFC 3339 UTC.

    `tray` is the protocol by which a panel shows the icon. `no_tray` and `no_notifications` explain why there is no
    icon or no messages. `config_error` explains why the agent rejected the configuration file and keeps the previous
    one. `unlisted_ssh` is the number of ssh sessions with their own connection to hosts that the agent does not know.
    """

    version: str
    pid: int
    started: str
    no_tray: str | None = None
    no_notifications: str | None = None
    config_error: str | None = None
    tray: str | None = None
    unlisted_ssh: int = 0


# A function that converts monotonic seconds into RFC 3339 UTC. It supplies all wall-clock times in the view.
Wall = Callable[[float], str]


def view(
    state: State,
    agent: AgentFacts,
    since: Mapping[str, float],
    wall: Wall,
    now: float,
    *,
    names: Collection[str] = (),
) -> dict[str, Any]:
    """Return the view. `since` maps "host NAME" and "vpn NAME" to when their displayed state began.

    `names`: include only these hosts (empty: all hosts).
    """
    draining = _draining(state, wall)
    beside = _beside(state, now)
    until = state.paused_until if state.paused_until is not None and state.paused_until > now else None
    return {
        "schema": SCHEMA,
        "agent": {
            "version": agent.version,
            "pid": agent.pid,
            "started": agent.started,
            "paused": until is not None,
            "paused_until": _wall(until, wall),
            "tray": agent.tray,
            "no_tray": agent.no_tray,
            "no_notifications": agent.no_notifications,
            "config_error": agent.config_error,
            "unlisted_ssh": agent.unlisted_ssh,
        },
        "network": _network(state),
        "vpns": [_vpn(state, name, since, wall, now) for name in vpn_names(state)],
        "hosts": [
            _host(state, h, since, wall, now)
            | {"draining": draining.get(h.name, []), "beside": beside.get(h.name, [])}
            for h in state.hosts.values()
            if h.draining is None and (not names or h.name in names)
        ],
    }


def vpn_names(state: State) -> tuple[str, ...]:
    """Return the names of the VPNs to show: the configured ones, then the interfaces of learned VPNs."""
    configured = [vpn.name for vpn in state.vpns]
    known = {i.name for v in state.vpns if (i := state.vpn_interface(v.name)) is not None}
    learned = {h.reached.learned_vpn for h in state.hosts.values() if h.reached.learned_vpn is not None}
    return (*configured, *sorted(learned - known - set(configured)))


def _network(state: State) -> dict[str, Any]:
    routes = state.snapshot.default_routes
    default = None
    if routes:
        interface = state.snapshot.interface(routes[0].interface)
        address = routes[0].source or next(
            (
                a.ip
                for a in (interface.addresses if interface else ())
                if (":" in a.ip) == (":" in routes[0].prefix)
            ),
            None,
        )
        default = {"interface": routes[0].interface, "address": address, "gateway": routes[0].gateway}
    return {
        "online": bool(routes),
        "name": state.snapshot.name,
        "default": default,
        "interfaces": [
            {"name": i.name, "up": i.up, "kind": i.kind, "addresses": [str(a) for a in i.addresses]}
            for i in state.snapshot.interfaces
        ],
    }


def _vpn(state: State, name: str, since: Mapping[str, float], wall: Wall, now: float) -> dict[str, Any]:
    shown = vpn_display_state(state, name, now)
    behind = [
        h.name
        for h in state.hosts.values()
        if h.draining is None
        and (h.wish.vpn == name or (h.wish.vpn is None and h.reached.learned_vpn == name))
    ]
    return {
        "name": name,
        "state": shown,
        "interface": vpn_interface_up(state, name),
        "since": _wall(since.get(f"vpn {name}"), wall),
        "hosts": behind,
        "problem": _vpn_problem(state, name).as_json() if shown == "needs-sign-in" else None,
    }


def _vpn_problem(state: State, name: str) -> Problem:
    report, observed = manager_report(state, name), state.vpn_observations.get(name, VpnObservation())
    return vpn_problem(
        name, observed.sign_in_failure, needs_secret=report is not None and report.needs_secret
    )


def _host(state: State, host: Host, since: Mapping[str, float], wall: Wall, now: float) -> dict[str, Any]:
    shown = display_state(host, state, now)
    problem = display_problem(host, state, now, shown)
    master = host.master
    given = {*host.forwards.by_hand} - {*configured_forwards(host)}
    return {
        "name": host.name,
        "listed": host.wish.listed,
        "state": shown,
        "since": _wall(since.get(f"host {host.name}"), wall),
        "pid": master.pid if master is not None else None,
        "control_path": _control_path(host),
        "local": _end(master.local, master.local_port) if master is not None else None,
        "peer": _end(master.peer, master.peer_port) if master is not None else None,
        "mptcp": master is not None and master.mptcp,
        "interface": host.path.egress if host.path is not None else None,
        "forwards": [_forward(f, by_hand=f.forward in given) for f in display_forwards(host, state)],
        "unknown_listens": list(host.forwards.unknown),
        "ended_listens": _ended_listens(host),
        "persist_s": _persist_s(host),
        "resolving": host.resolved is None and shown == "connecting",
        "attempt": host.retry.count,
        "failing_since": _wall(host.retry.first_failed_at if host.retry.count else None, wall),
        "next_retry": _wall(_next_retry(host, state, shown, now), wall),
        "problem": problem.as_json() if problem is not None else None,
        "held": host.user.held,
        "paused_until": _wall(state.pause_ends_at(host, now), wall),
        "roaming": _roaming(host, state, wall),
        "no_roaming": why_not_roaming(host, state.hosts),
        "standby": _standby(host),
        "no_standby": _no_standby(host, state),
        "unanswered_ms": None if host.probed_at is None else round((now - host.probed_at) * 1e3, 1),
        "recoveries": host.outage.recoveries,
        "last_recovery_ms": None
        if host.outage.last_recovery_s is None
        else round(host.outage.last_recovery_s * 1e3, 1),
    }


def _persist_s(host: Host) -> int | None:
    """Return after how many seconds without a session ssh's ControlPersist ends the connection, or None if never."""
    persist = host.resolved.control_persist if host.resolved is not None else ""
    return int(persist) or None if persist.isdecimal() and host.wish.connect != "always" else None


def _ended_listens(host: Host) -> list[str]:
    """Return where the last master listened for forwards that the agent could not open again, and nothing does now."""
    again = {str(f.forward.listen.port) for f in host.forwards.states if f.forward.kind != "remote"}
    again |= {listen.rpartition(":")[2] for listen in host.forwards.unknown}
    return [listen for listen in host.forwards.ended if listen.rpartition(":")[2] not in again]


def _roaming(host: Host, state: State, wall: Wall) -> dict[str, Any] | None:
    roaming = host.roaming
    if roaming is None:
        return None
    lost_at = _path_lost_at(host, state)
    away_since = roaming.away_since if roaming.away_since is not None else lost_at
    return {
        "pid": roaming.inner.pid,
        "attached": host.linked and lost_at is None,
        "away_since": _wall(away_since, wall),
        "moves": roaming.moves,
        "sessions": roaming.sessions,
        "by": "port" if roaming.by_port_since is not None else "channel",
        "port": roaming.port or None,
        "no_port": _no_port(host, roaming),
    }


def _standby(host: Host) -> dict[str, Any] | None:
    """Return the spare master on a second interface, or the login that makes one."""
    spare, standby = host.spare, host.standby
    if spare is None and standby.attempt is None:
        return None
    bound = spare.bound if spare is not None else None
    return {
        "interface": bound or standby.interface,
        "pid": spare.pid if spare is not None else None,
        "ready": spare is not None,
    }


def _no_standby(host: Host, state: State) -> str | None:
    """Return why a host with `standby = true` has no spare master, None if it has one or will soon have one."""
    if not host.wish.standby or host.spare is not None or host.standby.attempt is not None:
        return None
    obstacle = spare_of(host, state).obstacle
    return "refused" if obstacle is None and host.standby.refused else obstacle


def _no_port(host: Host, roaming: Roaming) -> str | None:
    """Return why the sessions do not move by the TCP port that the user set, "taken" or "unreachable", else None."""
    if host.wish.roam_port is None:
        return None
    return "taken" if roaming.port == 0 else "unreachable" if roaming.port_failed else None


def _path_lost_at(host: Host, state: State) -> float | None:
    """Return since when the link cannot reach the server. Return None if that is not known.

    The near relay notices the loss only when a session sends data. The address and the routes show it earlier.
    """
    if host.roaming is not None and host.roaming.by_port_since is not None:
        carried = carried_by_port(host, admission(host, state))
        return None if carried else max(host.roaming.by_port_since, state.network_at)
    if not host.suspect:
        return None
    if host.doubt.gone_at is not None:
        return host.doubt.gone_at
    return host.doubt.began_at if admission(host, state).route is None else None


def _control_path(host: Host) -> str | None:
    if host.roaming is not None:
        return host.roaming.inner.control_path
    if host.master is not None:
        return host.master.control_path
    return host.resolved.control_path if host.resolved is not None else None


def _next_retry(host: Host, state: State, shown: DisplayState, now: float) -> float | None:
    if shown not in {"waiting", "failed", "needs-sign-in"}:
        return None
    delayed = delay(host, state, now)
    due = delayed.at if delayed is not None and delayed.at is not None else host.retry.at
    if delayed is None and shown != "waiting":
        return None
    return due if due is not None and due > now else None


def _forward(state: ForwardState, *, by_hand: bool) -> dict[str, Any]:
    return {
        "kind": state.forward.kind,
        "spec": state.forward.spec,
        "state": state.state,
        "listen": state.listen,
        "error": state.error,
        "by_hand": by_hand,
    }


def _draining(state: State, wall: Wall) -> dict[str, list[dict[str, Any]]]:
    """Return the earlier masters that still carry sessions, by host, oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    every = [(h.draining, h.forwarding_master) for h in state.hosts.values() if h.draining is not None]
    living = [(draining, m) for draining, m in every if m is not None and draining.beside is None]
    for draining, master in sorted(living, key=lambda one: one[0].made_at):
        found.setdefault(draining.owner, []).append(
            {
                "pid": master.pid,
                "since": _wall(draining.made_at, wall),
                "sessions": draining.sessions,
                "connections": draining.connections,
            }
        )
    return found


def _beside(state: State, now: float) -> dict[str, list[dict[str, Any]]]:
    """Return the ssh sessions beside the masters, by host, oldest first."""
    found: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for host in state.hosts.values():
        draining = host.draining
        if draining is None or draining.beside is None or host.master is None:
            continue
        why_not = _why_not_ended(host, state, now)
        shown = {
            "pid": host.master.pid,
            "terminal": draining.beside.terminal or None,
            "program": draining.beside.program or None,
            "stale": host.doubt.gone_at is not None,
            "unproven": host.master.datagrams,
            "signal": draining.beside.signal,
            "agent_ends": "no" if not state.end_beside else "when-proven" if why_not is None else "cannot",
            "why_not": why_not,
        }
        found.setdefault(draining.owner, []).append((draining.made_at, shown))
    return {owner: [one for _, one in sorted(all_, key=lambda x: x[0])] for owner, all_ in found.items()}


def _why_not_ended(host: Host, state: State, now: float) -> str | None:
    """Return why the agent does not end an ssh beside a master at present, None if it ends it once it is proven dead.

    "unproven": nothing shows what carries it, no control is possible from this network, or the last one failed.
    """
    if left_alone(host, state.hosts):
        return "never"
    if not state.end_beside:
        return None
    if state.paused(host, now):
        return "paused"
    if host.master is not None and host.master.datagrams:
        return "unproven"
    admitted = admission(host, state)
    if admitted.code in {"network-not-allowed", "vpn-down"}:
        return "networks" if admitted.code == "network-not-allowed" else "vpn"
    if host.doubt.gone_at is None or admitted.code not in {None, "not-here"}:
        return None
    if host.doubt.observed is not None and host.doubt.observed.stopped:
        return "suspended"
    possible = admitted.open and host.bare_retry.kind is None and control_possible(host, admitted)
    return None if possible else "unproven"


def _end(ip: str | None, port: int) -> str | None:
    if ip is None:
        return None
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _wall(at: float | None, wall: Wall) -> str | None:
    if at is None or at in {float("inf"), float("-inf")}:
        return None
    return wall(at)
