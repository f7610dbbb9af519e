"""Open and close forwards of a master, so that exactly the wanted forwards are open.

Each forward has its own result.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

from trayagent.core.facts.forwards import End, Forward
from trayagent.core.facts.hosts import ForwardState
from trayagent.core.facts.remote_sessions import still_refused
from trayagent.errors import TrayagentError
from trayagent.ssh.master.launch_and_wait import read_own_log
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.errors import Refused, Timeout
from trayagent.ssh.mux.forward import UNIX_PATH, MuxForward
from trayagent.ssh.os.listeners import Listeners, tcp_listeners

_TOGETHER_S = 0.05  # all remote forwards are requested at once, so their answers come close together
_LINE_SHARE = 0.5  # the shortest round trip so far may have been on a slower line than the present one

_LOOPBACK = ("127.0.0.1", "::1")
_SOCKS = ("socks", 0)  # the target of a dynamic forward


class LocalSockets(Protocol):
    """Removes the files that local forwards of earlier masters left behind."""

    def remove_dead(self, path: str) -> None:
        """Remove the file of a Unix socket if the socket belongs to this user and no process listens on it."""


async def ensure(  # noqa: PLR0913  # each argument is a choice of the caller
    control_path: str,
    pid: int,
    wanted: Sequence[Forward],
    opened: Collection[Forward],
    *,
    log: Path | None = None,
    cleared: Callable[[], Awaitable[None]] | None = None,
    rtt_s: float | None = None,
    local_sockets: LocalSockets | None = None,
    progress: Callable[[tuple[ForwardState, ...]], None] | None = None,
) -> tuple[ForwardState, ...]:
    """Close open forwards that are not wanted, and open the wanted ones; return the state of each wanted forward.

    A second call changes nothing. Each forward uses a separate control connection, because the master answers the
    requests of one connection one after the other. So all remote forwards together take one round trip. `opened` are
    the forwards that this master has confirmed. `log` is the master's log, where ssh writes the reason of a failed
    listener. Await `cleared` before a request for a specific port or path of the server. `local_sockets` removes the
    files that earlier masters left on this machine. `rtt_s` is the shortest round trip so far, in seconds. While
    answers of the server are due, call `progress` with the states known so far; a forward without an answer is
    "opening".
    """
    await asyncio.gather(*(_close(control_path, f) for f in opened if f not in wanted))
    if local_sockets is not None:
        for path in (f.listen.path for f in (*opened, *wanted) if f.kind != "remote"):
            if path is not None:
                local_sockets.remove_dead(path)
    logged = len(read_own_log(log)) if log is not None else 0
    states = {f: ForwardState(f, "opening") for f in wanted}

    def last_words() -> str:
        return read_own_log(log)[logged:] if log is not None else ""

    async with asyncio.TaskGroup() as group:
        local = {f: group.create_task(_open(control_path, f)) for f in wanted if f.kind != "remote"}
        remote = {
            f: group.create_task(
                _open(control_path, f)
                if f in opened
                else _open_remote(control_path, f, cleared if _certain(f) else None, rtt_s)
            )
            for f in wanted
            if f.kind == "remote"
        }
        waiting = set(remote.values())
        if local:
            await asyncio.wait(local.values())
            listening = tcp_listeners(pid)
            states |= {f: _checked(f, t.result(), listening, last_words()) for f, t in local.items()}
        while True:
            waiting = {task for task in waiting if not task.done()}
            answered = {f: t.result() for f, t in remote.items() if t.done() and states[f].state == "opening"}
            states |= {f: _checked(f, answer, Listeners(), last_words()) for f, answer in answered.items()}
            if not waiting:
                return tuple(states[f] for f in wanted)
            if progress is not None and any(s.state != "opening" for s in states.values()):
                progress(tuple(states[f] for f in wanted))
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(waiting, timeout=_TOGETHER_S)


def _certain(forward: Forward) -> bool:
    """Report whether the forward names a specific port or path of the server."""
    return bool(forward.listen.port or forward.listen.path)


async def _open_remote(
    control_path: str, forward: Forward, cleared: Callable[[], Awaitable[None]] | None, rtt_s: float | None
) -> int | TrayagentError | None:
    """Request a remote forward that this master has not confirmed yet.

    A master confirms a forward at once if any client requested it before, even if the server refused it or never
    answered. So cancel the earlier request first; the master does that locally and notifies the server. A confirmation
    that comes faster than the line allows proves nothing.
    """
    if cleared is not None:
        await cleared()
    await _close(control_path, forward)
    begin = time.monotonic()
    answer = await _open(control_path, forward)
    fast = rtt_s is not None and time.monotonic() - begin < rtt_s * _LINE_SHARE
    if fast and not isinstance(answer, TrayagentError):
        return TrayagentError("the ssh master confirmed before the server could answer")
    if isinstance(
        answer, Timeout
    ):  # the master waits for the server's answer, and some servers never answer (tinysshd)
        where = f"port {forward.listen.port}" if forward.listen.path is None else forward.listen.path
        return Timeout(
            f"the server did not answer the request for {where}. Perhaps it has no remote forwards"
        )
    return answer


async def _open(control_path: str, forward: Forward) -> int | TrayagentError | None:
    try:
        async with MuxClient.connected(control_path) as client:
            return await client.open_forward(to_mux(forward))
    except TrayagentError as error:
        return error


async def _close(control_path: str, forward: Forward) -> None:
    try:
        async with MuxClient.connected(control_path) as client:
            await client.close_forward(to_mux(forward))
    except TrayagentError:
        pass  # the forward was not open, or the master is gone: in both cases the forward is closed now


def _checked(
    forward: Forward,
    answer: int | TrayagentError | None,
    listening: Listeners,
    last_words: str,
) -> ForwardState:
    if isinstance(answer, TrayagentError):
        refused = isinstance(answer, Refused) and forward.kind == "remote"
        taken = isinstance(answer, Refused) and _is_taken(forward, listening)
        reason = _reason(forward, answer, last_words)
        return ForwardState(forward, "failed", error=reason, refused=refused, taken=taken)
    listen = forward.listen
    if listen.path is not None:
        return ForwardState(forward, "open", listen=listen.path)
    if forward.kind == "remote":
        return ForwardState(forward, "open", listen=_shown(listen.host or "localhost", answer or listen.port))
    missing = _missing(listen.host, listen.port, listening)
    if missing is not None:
        # ssh reports success even if it could bind only one of the two address families.
        error = f"{_shown(missing, listen.port)} is taken by another program"
        return ForwardState(forward, "failed", error=error, taken=True)
    return ForwardState(forward, "open", listen=listen_address(forward, listening))


def listen_address(forward: Forward, listening: Listeners) -> str:
    """Return the address where an open forward listens; for a remote forward, this is an address of the server."""
    listen = forward.listen
    if listen.path is not None:
        return listen.path
    default = "localhost" if forward.kind == "remote" else _default(listen.port, listening)
    return _shown(listen.host or default, listen.port)


def _is_taken(forward: Forward, listening: Listeners) -> bool:
    """Report whether the port or path of a local forward is in use on this machine."""
    if forward.kind == "remote":
        return False
    if forward.listen.path is not None:
        return os.path.lexists(forward.listen.path)
    return any(port == forward.listen.port for _, port in listening.others | listening.own)


def _default(port: int, listening: Listeners) -> str:
    """Return the loopback address of a forward without a listen address.

    That is ::1 if ssh listens only there (AddressFamily inet6), otherwise 127.0.0.1.
    """
    v4, v6 = _LOOPBACK
    return v6 if (v6, port) in listening.own and (v4, port) not in listening.own else v4


def _missing(host: str, port: int, listening: Listeners) -> str | None:
    """Return the loopback address on which a forward should listen but does not, or None.

    This can only happen to a forward without a listen address. Other forwards name an address, and ssh reports a
    failure if that address is taken.
    """
    if host not in {"", "localhost"} or {("0.0.0.0", port), ("::", port)} & listening.own:  # noqa: S104  # compared, not bound
        return None
    v4, v6 = _LOOPBACK
    if (v4, port) not in listening.own:
        # With AddressFamily inet6, ssh listens on ::1 only.
        taken = {(v4, port), ("0.0.0.0", port), ("::", port)} & listening.others  # noqa: S104  # compared, not bound
        return v4 if taken or (v6, port) not in listening.own else None
    # On a machine without IPv6, no process listens on ::1. But if another program listens there, `localhost` reaches
    # it.
    return v6 if (v6, port) not in listening.own and (v6, port) in listening.others else None


def _reason(forward: Forward, error: TrayagentError, last_words: str) -> str:
    """Return why a forward failed, in ssh's words if ssh gave a reason."""
    if forward.kind != "remote" and forward.listen.path is not None:
        return _path_in_use(forward.listen.path, last_words) or error.title
    port = str(forward.listen.port)
    for line in last_words.splitlines():
        if "bind [" in line and (f":{port}:" in line):
            return line.strip()
    if isinstance(error, Refused) and forward.kind == "remote":
        return still_refused(forward.listen.path or f"port {port}", None)
    return error.title


def _path_in_use(path: str, last_words: str) -> str | None:
    """Return why ssh cannot listen on a local path, or None if unknown. If no file is there, return ssh's own words."""
    if os.path.lexists(path):
        return f"{path} exists already, and trayagent did not create it"
    lines = [line.strip() for line in last_words.splitlines() if "unix_listener: " in line and path in line]
    return lines[-1] if lines else None


def _shown(host: str, port: int) -> str:
    host = "0.0.0.0" if host == "*" else host  # noqa: S104  # shown, not bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def to_mux(forward: Forward) -> MuxForward:
    """Return the forward as the fields of the mux protocol's OPEN_FWD and CLOSE_FWD."""
    target = _SOCKS if forward.target is None else _fields(forward.target)
    return MuxForward(forward.kind, *_fields(forward.listen), *target)


def _fields(end: End) -> tuple[str, int]:
    return (end.host, end.port) if end.path is None else (end.path, UNIX_PATH)
