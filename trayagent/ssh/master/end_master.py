"""End a master: send TERMINATE through its socket, then SIGKILL to it. Also end what only carries it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable

from trayagent.core.facts.masters import Master
from trayagent.errors import TrayagentError
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.os.carriers import Carrier, carriers_of
from trayagent.ssh.os.copied_connection import shut_down
from trayagent.ssh.os.process import Process, alive, kill_checked, read
from trayagent.ssh.os.signals import caught_signals
from trayagent.ssh.os.suspended import any_stopped
from trayagent.ssh.os.tcp_connection import flow_of
from trayagent.ssh.os.terminals import reads_terminal

TERMINATE_S = 0.100  # an idle master needs 2 ms; a master that hangs never ends
SESSION_END_S = 0.3  # ssh needs milliseconds to restore its terminal; with a full send buffer it never ends
_KILLED_S = 2.0  # a process ends 1 to 11 ms after SIGKILL
_POLL_S = 0.001


async def end(master: Master, *, politely: bool = True) -> None:
    """End a master and the processes that only carry it; return when the master is gone.

    Pass `politely` False to skip TERMINATE: after a take-over, a polite end would unlink the new master's socket. If
    the pid now belongs to another process, leave that process and its children alone.
    """
    carriers = carriers_of(master.pid) if _still(master) else []
    if not _still(master):  # only a check after `carriers_of` shows that they belong to this master
        return
    if not (politely and await _terminate(master) and await _gone(master, TERMINATE_S)):
        kill_checked(master.pid, master.start_ticks, {master.program}, signal.SIGKILL)
        await _gone(master, _KILLED_S)
    await _end_carriers(carriers)


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
    """End an ssh that has not logged in, and the processes that only carry it; return when all are gone.

    SIGTERM lets ssh close its connection, so that no server keeps a dead connection. Without a signal, an `ssh -W` that
    is still connecting would stay for minutes if the network swallows every packet.
    """
    leads = _leads_session(process.pid)
    carriers: list[Carrier] = []
    try:
        # A stopped ssh starts no process that would be missed. But its shell at a terminal would notice.
        if leads:
            _signal(process, signal.SIGSTOP)
            await _until(lambda: any_stopped([process.pid]) or not _runs(process), TERMINATE_S)
        carriers = carriers_of(process.pid)
    finally:
        _signal(process, signal.SIGTERM)
        if leads:
            _signal(process, signal.SIGCONT)
    if not await _until(lambda: not _runs(process), TERMINATE_S):
        _signal(process, signal.SIGKILL)
        await _until(lambda: not _runs(process), _KILLED_S)
    await _end_carriers(carriers)


async def _end_carriers(carriers: Iterable[Carrier]) -> None:
    """End the processes that carried an ssh which is gone. Return when those that may be killed are gone.

    The `ssh -W` of a killed master could wait forever. Another program gets only the signal that ssh itself sends.
    """
    for one in carriers:
        _signal(one.process, signal.SIGHUP)
    killable = [one.process for one in carriers if one.only]
    if not await _until(lambda: not any(map(_runs, killable)), TERMINATE_S):
        for process in killable:
            _signal(process, signal.SIGKILL)
        await _until(lambda: not any(map(_runs, killable)), _KILLED_S)


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
    return await _until(lambda: not alive(master.pid, master.start_ticks), within_s)


async def _until(condition: Callable[[], bool], within_s: float) -> bool:
    """Wait until a condition is true, and return whether it is. No event reports the end of another's child."""
    until = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(_POLL_S)
    return True


def _signal(process: Process, sig: signal.Signals) -> None:
    """Send a signal. Accept any program name: a shell may become ssh, or another program, at any moment."""
    kill_checked(process.pid, process.start_ticks, None, sig)


def _runs(process: Process) -> bool:
    return alive(process.pid, process.start_ticks)


def _leads_session(pid: int) -> bool:
    """Report whether a process leads a Unix session, as the ssh of each attempt in the background does."""
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
