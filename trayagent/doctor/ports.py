"""Checks for ports and sockets on this machine that a forward needs, but another program holds."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.resolved import Resolved
from trayagent.doctor.deadlines import aside
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case, spoken
from trayagent.ssh.os.control_sockets import owner_of
from trayagent.ssh.os.listeners import Listener, all_listeners
from trayagent.ssh.os.process import read
from trayagent.ssh.os.script_around import script_around
from trayagent.ssh.os.script_around import spoken as spoken_script

_PRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_ALL = {"0.0.0.0", "::"}  # noqa: S104  # compared, not bound
_LOOPBACK = {"127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class _Wish:
    host: str
    forward: Forward
    resolved: Resolved
    master: int | None


async def check(case: Case) -> Iterable[Finding]:
    """Report which local ports and sockets are taken, and by which program."""
    return await aside(lambda: _examine(case))


def _examine(case: Case) -> list[Finding]:
    wishes = [*_wishes(case)]
    masters = case.agents_masters()
    found = [*_privileged(wishes), *_ports(wishes, masters), *_sockets(wishes, masters)]
    number = len({wish.forward.listen for wish in wishes})
    return found or ([ok(f"{number} local, each free or used by its own master")] if wishes else [])


def _wishes(case: Case) -> Iterator[_Wish]:
    for name, host, resolved in case.wanted():
        forwards = dict.fromkeys(f for f in (*host.forwards, *resolved.forwards) if f.kind != "remote")
        master = case.master(name) if forwards else None
        yield from (_Wish(name, forward, resolved, master) for forward in forwards)


def _privileged(wishes: list[_Wish]) -> Iterator[Finding]:
    first = _first_free_for_all()
    for wish in wishes:
        if wish.forward.listen.path is None and wish.forward.listen.port < first and os.geteuid() != 0:
            port = wish.forward.listen.port
            title = f"{wish.host}: only root may listen on port {port}, which {spoken(wish.forward)} needs"
            remedy = f"Choose a port from {first} on, or allow it for all users:"
            line = f"sudo sysctl net.ipv4.ip_unprivileged_port_start={port}"
            yield problem(
                "port-privileged", title, "That forward fails each time.", remedy, line, host=wish.host
            )


def _first_free_for_all() -> int:
    try:
        return int(_PRIVILEGED.read_text())
    except (OSError, ValueError):
        return 1024


def _ports(wishes: list[_Wish], masters: Mapping[int, str]) -> Iterator[Finding]:
    """Yield ports of forwards on which another process than the host's own master listens.

    `masters` are the hosts of the agent's masters, by pid.
    """
    wanted = {wish.forward.listen.port for wish in wishes if wish.forward.listen.path is None}
    if not wanted:
        return
    listening = all_listeners(wanted)
    for wish in wishes:
        taken = [s for s in listening if _collides(wish, s)]
        others = [
            s for s in taken if s.pid is None or (s.pid != wish.master and masters.get(s.pid) != wish.host)
        ]
        if others:
            pid = next((s.pid for s in others if s.pid is not None), None)
            owner = masters.get(pid) if pid is not None else None
            yield _of_other_host(wish, owner) if owner is not None else _taken(wish, pid, others[0].uid)


def _of_other_host(wish: _Wish, owner: str) -> Finding:
    where = wish.forward.listen.path or f"port {wish.forward.listen.port}"
    title = f"{wish.host}: {where}, which {spoken(wish.forward)} needs, belongs to the connection of {owner}"
    why = "Two hosts have a forward on this port or socket, and only one can be open."
    remedy = "Give one of them another port, or remove the forward from one."
    return problem("port-taken", title, why, remedy, host=wish.host)


def _collides(wish: _Wish, found: Listener) -> bool:
    listen = wish.forward.listen
    if listen.path is not None or listen.port != found.local_port:
        return False
    everywhere = listen.host == "*" or (listen.host == "" and wish.resolved.gateway_ports)
    here = _LOOPBACK if listen.host in {"", "localhost"} else {listen.host}
    return everywhere or found.local_ip in _ALL or found.local_ip in here


def _taken(wish: _Wish, pid: int | None, uid: int) -> Finding:
    process = read(pid) if pid is not None else None
    port = wish.forward.listen.port
    if process is None:
        who, lines = f"a program of another user (uid {uid})", (f"sudo ss -ltnp sport = :{port}",)
    else:
        who, lines = f"{process.comm} (pid {process.pid})", (f"kill {process.pid}",)
        parent = read(process.ppid)
        if parent is not None and parent.comm == "autossh":  # autossh would restart the program
            who, lines = f"{who} of autossh (pid {parent.pid})", (f"kill {parent.pid}",)
        elif (script := script_around(process)) is not None:  # it may be a loop that restarts the program
            who = f"{who} of “{spoken_script(script)}” (pid {script.pid})"
            lines = (f"kill {script.pid} {process.pid}",)
    title = f"{wish.host}: port {port}, which {spoken(wish.forward)} needs, belongs to {who}"
    remedy = "End it, or choose another port:" if process is not None else "To find the program:"
    return problem(
        "port-taken", title, "The forward fails as long as that program runs.", remedy, *lines, host=wish.host
    )


def _sockets(wishes: list[_Wish], masters: Mapping[int, str]) -> Iterator[Finding]:
    """Yield paths that already exist where a forward would create its Unix socket."""
    for wish in wishes:
        path = wish.forward.listen.path
        kind = _kind(path) if path is not None else None
        if path is None or kind is None:
            continue
        pid = owner_of(path)
        owner = masters.get(pid) if pid is not None else None
        if owner == wish.host or (pid is not None and pid == wish.master):
            continue
        if owner is not None:
            yield _of_other_host(wish, owner)
            continue
        process = read(pid) if pid is not None else None
        needed = f"{wish.host}: {path}, which {spoken(wish.forward)} needs"
        why = "The forward fails as long as this file exists."
        if process is not None:
            title = f"{needed}, belongs to {process.comm} (pid {process.pid})"
            yield problem("socket-taken", title, why, "End it:", f"kill {process.pid}", host=wish.host)
        elif kind == "socket" and wish.resolved.stream_local_bind_unlink:
            continue  # ssh removes such a socket
        else:
            left = f"{needed}, is left over: no program listens there"
            title = left if kind == "socket" else f"{needed}, is not a socket"
            remedy = "Remove it. With StreamLocalBindUnlink yes in ssh_config, ssh removes such sockets automatically."
            yield advice("socket-left", title, why, remedy, f"rm {shlex.quote(path)}", host=wish.host)


def _kind(path: str) -> str | None:
    try:
        mode = Path(path).lstat().st_mode
    except OSError:
        return None
    return "socket" if stat.S_ISSOCK(mode) else "other"
