"""Open and close forwards of a master, so that exactly the wanted forwards are open.

Each forward has its own result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.hosts import ForwardState
from trayagent.ssh.confirm_remote_forward import open_remote
from trayagent.ssh.forward_result import result_of
from trayagent.ssh.master.launch_and_wait import read_own_log
from trayagent.ssh.os.listeners import Listeners, tcp_listeners
from trayagent.ssh.request_forward import cancel, request

_TOGETHER_S = 0.05  # all remote forwards are requested at once, so their answers come close together


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
    await asyncio.gather(*(cancel(control_path, f) for f in opened if f not in wanted))
    if local_sockets is not None:
        for path in (f.listen.path for f in (*opened, *wanted) if f.kind != "remote"):
            if path is not None:
                local_sockets.remove_dead(path)
    logged = len(read_own_log(log)) if log is not None else 0
    states = {f: ForwardState(f, "opening") for f in wanted}

    def last_words() -> str:
        return read_own_log(log)[logged:] if log is not None else ""

    async with asyncio.TaskGroup() as group:
        local = {f: group.create_task(request(control_path, f)) for f in wanted if f.kind != "remote"}
        remote = {
            f: group.create_task(
                request(control_path, f)
                if f in opened
                else open_remote(control_path, f, cleared if _certain(f) else None, rtt_s)
            )
            for f in wanted
            if f.kind == "remote"
        }
        waiting = set(remote.values())
        if local:
            await asyncio.wait(local.values())
            listening = tcp_listeners(pid)
            states |= {f: result_of(f, t.result(), listening, last_words()) for f, t in local.items()}
        while True:
            waiting = {task for task in waiting if not task.done()}
            answered = {f: t.result() for f, t in remote.items() if t.done() and states[f].state == "opening"}
            states |= {f: result_of(f, answer, Listeners(), last_words()) for f, answer in answered.items()}
            if not waiting:
                return tuple(states[f] for f in wanted)
            if progress is not None and any(s.state != "opening" for s in states.values()):
                progress(tuple(states[f] for f in wanted))
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(waiting, timeout=_TOGETHER_S)


def _certain(forward: Forward) -> bool:
    """Report whether the forward names a specific port or path of the server."""
    return bool(forward.listen.port or forward.listen.path)
