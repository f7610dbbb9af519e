"""Make a living master accept no more clients, so that its sessions can continue beside a new master.

A master that stops listening unlinks the path on which it began to listen. For a master that the user started, that is
the control path, and by then the new master's socket is there. So the agent keeps a second link to the new socket, and
puts the socket back as soon as the path is free. A master that trayagent started began on another path, which is gone.

A master that has stopped listening exits when its last session or forwarded connection ends (clientloop.c,
client_stop_mux). The exception is a master with a session of its own, which exits when that session ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence

from trayagent.core.facts.masters import Master
from trayagent.errors import TrayagentError
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.errors import Gone, Refused
from trayagent.ssh.mux.forward import MuxForward
from trayagent.ssh.new_control_path import fresh_for, remove_fresh
from trayagent.ssh.os.carried import Carried, carried_by
from trayagent.ssh.os.process import alive, read

PUT_BACK_S = 0.050
"""How long the event loop may be blocked, in seconds. A running master unlinks its path within 1 ms."""
STOP_S = 10.0
"""How long each answer may take, in seconds. A living master that does not answer in time loses its sessions."""
EXIT_S = 1.0
"""How long a master that carries nothing may take to exit, in seconds. This is enough on a busy machine."""
_PROC_TITLE = "[stopped mux]"


def second_name(path: str) -> str:
    """Give the socket at `path` a second name, and return that name. Raise OSError."""
    other = fresh_for(path)
    os.link(path, other)
    return other


async def stop(
    name: str, pid: int, path: str, forwards: Sequence[MuxForward], *, unlinks_path: bool, wait_s: float
) -> None:
    """Stop the master that listens at `name`, and close its forwards.

    `unlinks_path`: the master unlinks the control path `path`, so put the socket that is there back. If one of the
    forwards is remote, wait up to `wait_s` seconds until the server has closed it. Raise a TrayagentError if the master
    does not stop. Then end the master, because it may still unlink the path.
    """
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(MuxClient.connected(name, timeout_s=STOP_S))
        if await client.alive(timeout_s=STOP_S) != pid:
            raise Gone("another ssh master listens there")
        remote = any(forward.kind == "remote" for forward in forwards)
        # The master is about to stop listening, so open now each connection that is needed later.
        for_round_trip = (
            await stack.enter_async_context(MuxClient.connected(name, timeout_s=STOP_S)) if remote else None
        )
        if unlinks_path:
            await _stop_and_put_back(client, path)
        else:
            await client.stop_listening(timeout_s=STOP_S)
        for forward in forwards:
            with contextlib.suppress(Refused):  # the forward was not open
                await client.close_forward(forward, timeout_s=STOP_S)
        if for_round_trip is not None:
            with contextlib.suppress(TrayagentError):
                await for_round_trip.round_trip(timeout_s=wait_s)


async def _stop_and_put_back(client: MuxClient, path: str) -> None:
    """Stop a master that unlinks `path`, and put the socket at that path back at once."""
    kept = second_name(path)
    try:
        stopping = asyncio.ensure_future(client.stop_listening(timeout_s=STOP_S))
        await asyncio.sleep(0)  # the task sends the request now
        until = time.monotonic() + PUT_BACK_S
        while not _put_back(kept, path) and time.monotonic() < until:
            pass  # a client that comes while the path is free makes its own connection
        await stopping
        _put_back(kept, path)
    finally:
        remove_fresh(kept)


def _put_back(kept: str, path: str) -> bool:
    try:
        os.link(kept, path)
    except FileExistsError:
        return False
    return True


async def carried_after_stop(master: Master) -> Carried:
    """Return what a master still carries right after it stopped listening.

    If the user started the master and it carries nothing, give it time to exit.

    Raise NetlinkError.
    """
    found = carried_by(master.pid)
    until = time.monotonic() + EXIT_S
    while not (found.sessions or found.connections or master.started_by_agent) and time.monotonic() < until:
        if not _ends_by_itself(master.pid) or not alive(master.pid, master.start_ticks):
            break
        await asyncio.sleep(0.02)
        found = carried_by(master.pid)
    return carried(master)


def carried(master: Master) -> Carried:
    """Return what a master that stopped listening still carries, including its own session. Raise NetlinkError.

    A user's master that exits with its last channel, but still runs, has a channel. The kernel may show no socket for
    it: the connection of `ssh -W` ends in the master's own standard input and output.
    """
    found = carried_by(master.pid)
    if master.started_by_agent or not alive(master.pid, master.start_ticks):
        return found
    if _ends_by_itself(master.pid) and (found.sessions or found.connections):
        return found
    return Carried(found.sessions + 1, found.connections)


def stays(master: Master) -> bool:
    """Report whether a master that trayagent started still listens, so that it continues after its last session."""
    return master.started_by_agent and not _ends_by_itself(master.pid)


def _ends_by_itself(pid: int) -> bool:
    process = read(pid)
    return process is None or (bool(process.argv) and process.argv[-1].endswith(_PROC_TITLE))
