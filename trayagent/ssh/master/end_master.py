"""End a master: send TERMINATE through its socket, then SIGKILL to it and its transport."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

from trayagent.core.facts.masters import Master
from trayagent.errors import TrayagentError
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.os.process import Process, alive, descendants, kill_checked, read
from trayagent.ssh.os.shut_down import shut_down
from trayagent.ssh.os.signals import caught_signals
from trayagent.ssh.os.tcp_connection import flow_of, transport_of
from trayagent.ssh.os.terminals import reads_terminal

TERMINATE_S = 0.100  # an idle master needs 2 ms; a master that hangs never ends
SESSION_END_S = 0.3  # ssh needs milliseconds to restore its terminal; with a full send buffer it never ends
_KILLED_S = 2.0  # a process ends 1 to 11 ms after SIGKILL
_POLL_S = 0.001


async def end(master: Master, *, politely: bool = True) -> None:
    """End a master and its transport; return when the master is gone.

    Pass `politely` False to skip TERMINATE: after a take-over, a polite end would unlink the new master's socket. If
    the pid now belongs to another process, leave that process and its children alone.
    """
    family = _family(master)
    if not _still(master):  # only a check after `_family` shows that `family` belongs to this master
        return
    if politely and await _terminate(master) and await _gone(master, TERMINATE_S):
        _kill_all(family, but=master.pid)
        return
    kill_checked(master.pid, master.start_ticks, {master.program}, signal.SIGKILL)
    _kill_all(family, but=master.pid)
    await _gone(master, _KILLED_S)


async def end_session(master: Master) -> None:
    """End an ssh that is no master as if it had lost its connection: it restores its terminal and exits with 255.

    Then autossh, a unit or a loop starts it again. So the connection itself is ended first. If the system refuses that,
    ssh gets SIGHUP or SIGQUIT, but only if ssh handles it: an ssh that is still logging in would die of SIGHUP, which a
    unit takes for success. Under nohup or started with `&` in a script, it ignores both. SIGTERM is never sent, because
    `ssh -N` then exits with 0 (clientloop.c), which ends its supervisor, too. SIGKILL is the last resort, because it
    leaves a terminal as it is. Its ProxyCommand ends with it, or by the end of the connection. It gets no signal here,
    because a ProxyCommand may have started a program that others use, too.

    There is one exception. autossh gives up if its first ssh exits with a status within AUTOSSH_GATETIME (30 s), but
    not if a signal ended that ssh (1.4f or newer). So an ssh of autossh gets SIGKILL, unless it reads a terminal.
    """
    if not _still(master):
        return
    killed_at_once = _restarts_killed(master.pid)
    if killed_at_once or not (await _cut_off(master) or await _hung_up(master)):
        kill_checked(master.pid, master.start_ticks, {master.program}, signal.SIGKILL)
        await _gone(master, _KILLED_S)


def ending_signal(pid: int) -> signal.Signals:
    """Return the signal that ends an ssh best: one after which its supervisor starts it again."""
    return next(iter(_hangups(pid)), signal.SIGKILL)


def _hangups(pid: int) -> list[signal.Signals]:
    """Return the signals after which an ssh restores its terminal and exits with 255, none if SIGKILL is better."""
    if _restarts_killed(pid):
        return []
    caught = caught_signals(pid)
    return [sig for sig in (signal.SIGHUP, signal.SIGQUIT) if sig in caught]


def _restarts_killed(pid: int) -> bool:
    """Report whether an ssh belongs to autossh, and SIGKILL can leave no terminal in a wrong mode."""
    process = read(pid)
    parent = read(process.ppid) if process is not None else None
    return parent is not None and parent.comm == "autossh" and not reads_terminal(pid)


async def _hung_up(master: Master) -> bool:
    for sig in _hangups(master.pid):
        kill_checked(master.pid, master.start_ticks, {master.program}, sig)
        if await _gone(master, SESSION_END_S):
            return True
    return False


async def _cut_off(master: Master) -> bool:
    """End the connection of an ssh, its own or that of its ProxyCommand. Return whether ssh then ended."""
    try:
        flow = flow_of(master.pid)
    except TrayagentError:
        return False
    # With several connections, nothing shows which one carries the ssh.
    if flow is None or flow.via not in {"direct", "child"} or flow.others or flow.local_ip != master.local:
        return False
    return _still(master) and shut_down(flow) and await _gone(master, SESSION_END_S)


async def abandon(process: Process) -> None:
    """End an ssh that has not logged in, and its transport; return when all are gone.

    SIGTERM lets each process close its connection, so that no server keeps a dead connection. Without this signal, an
    `ssh -W` that is still connecting would stay for minutes if the network swallows every packet.
    """
    leads = _leads_session(process.pid)
    family = [process, *descendants(process.pid)]
    for sig, within_s in ((signal.SIGTERM, TERMINATE_S), (signal.SIGKILL, _KILLED_S)):
        for one in family:
            # Accept any program name: a shell that runs a ProxyCommand may become another program at any moment.
            sent = kill_checked(one.pid, one.start_ticks, None, sig)
            if one is process and leads and sent == "sent":
                # Also end a child that started after `family` was read, because no later search would find that child.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, sig)
        until = time.monotonic() + within_s
        while (  # noqa: ASYNC110  # no event reports the end of a process that is not our child
            any(alive(one.pid, one.start_ticks) for one in family) and time.monotonic() < until
        ):
            await asyncio.sleep(_POLL_S)


async def _terminate(master: Master) -> bool:
    try:
        async with MuxClient.connected(master.control_path, timeout_s=TERMINATE_S) as client:
            if await client.alive(timeout_s=TERMINATE_S) != master.pid:
                return False  # the path belongs to another master now
            await client.terminate(timeout_s=TERMINATE_S)
    except TrayagentError:
        return False
    return True


async def _gone(master: Master, within_s: float) -> bool:
    until = time.monotonic() + within_s
    while alive(master.pid, master.start_ticks):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(_POLL_S)
    return True


def _leads_session(pid: int) -> bool:
    """Report whether a process leads a Unix session, as the ssh of each attempt does.

    Then only its own descendants are in its process group.
    """
    try:
        return os.getsid(pid) == pid
    except OSError:  # the process is gone, or the system hides other sessions
        return False


def _still(master: Master) -> bool:
    """Report whether the pid still belongs to this master's ssh process and to this user."""
    found = read(master.pid)
    return found is not None and (found.start_ticks, found.uid, found.comm) == (
        master.start_ticks,
        os.getuid(),
        master.program,
    )


def _family(master: Master) -> list[Process]:
    """Return the master's descendants and its transport. A master in the background is not its transport's parent."""
    if not _still(master):
        return []
    found = {p.pid: p for p in (*descendants(master.pid), *transport_of(master.pid))}
    return list(found.values())


def _kill_all(family: list[Process], *, but: int) -> None:
    """Kill these processes except the pid `but`. The `ssh -W` of a killed master could wait forever."""
    for process in family:
        if process.pid != but:
            kill_checked(process.pid, process.start_ticks, None, signal.SIGKILL)
