"""Opens and closes the forwards of each master, so that exactly the wanted ones are open. One round runs at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from trayagent.agent.forwards.leftover_local_sockets import LocalSockets
from trayagent.agent.forwards.remote_cleanup import RemoteCleanup
from trayagent.agent.parts import Parts
from trayagent.agent.state.forward_records import read_forward, written
from trayagent.core.facts.actions import EnsureForwards
from trayagent.core.facts.events import ForwardsChanged
from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.hosts import ForwardState, Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.remote_sessions import Reaped, still_refused
from trayagent.core.policy.shared_connection import users_of_connection
from trayagent.core.policy.wanted_connection import wanted_forwards
from trayagent.errors import TrayagentError
from trayagent.ssh.open_forwards import ensure
from trayagent.ssh.os.listeners import all_listeners

# Retry refused forwards after these pauses. Usually the port of a killed process is free immediately; a busy server
# takes longer.
AGAIN_S = (0.0, 0.1, 0.2, 0.7)
CLEAR_PATIENCE_S = 3.0  # request the forwards after this time, even if a slow shell still cleans up


class LostConnections(Protocol):
    """Roaming connections that ended on this machine. Their far relays may still hold remote forwards."""

    async def stop_beginning(self, master: Master) -> None:
        """Let a host that begins to roam through this master give up. Return when its far relay has ended."""

    async def end_all(self, name: str, master: Master) -> None:
        """End, through this master, the far relays of the host's lost connections. Never raise."""


class Forwarding:
    """Opens and closes forwards through the masters' sockets."""

    def __init__(
        self,
        parts: Parts,
        remote_cleanup: RemoteCleanup,
        local_sockets: LocalSockets,
        lost_connections: LostConnections,
    ) -> None:
        self._file_paths = parts.file_paths
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._records = parts.records
        self._remote_cleanup = remote_cleanup
        self._local_sockets = local_sockets
        self._lost_connections = lost_connections
        self._opened: dict[int, tuple[Forward, ...]] = {}
        self._rounds: dict[str, int] = {}
        self._again: dict[tuple[str, int], None] = {}
        self._moving: set[int] = set()

    def ensure(self, action: EnsureForwards) -> None:
        """Start a round that opens and closes forwards of a master. A call during a round requests one more round.

        A round on an earlier master of the host is cancelled, because it may hang until that master is killed.
        """
        name, pid = action.name, action.master.pid
        earlier = self._rounds.get(name)
        if earlier is not None and earlier != pid:
            self._tasks.cancel(f"forwards {earlier}")
        self._rounds[name] = pid
        if self._tasks.running(f"forwards {pid}"):
            self._again[name, pid] = None
            return
        self._tasks.start(f"forwards {pid}", self._ensure(name, pid))

    async def _ensure(self, name: str, pid: int) -> None:
        while True:
            self._again.pop((name, pid), None)
            host = self._shell.state.hosts.get(name)
            master = host.forwarding_master if host is not None else None
            if host is not None and master is not None and master.pid == pid:
                await self._round(host, master)
            due = next((other for other, its in self._again if its == pid), None)  # hosts may share a master
            if due is None:
                return
            name = due

    async def _round(self, host: Host, master: Master) -> None:
        own = _wanted(host, master)
        wanted = (*own, *self._of_others(host, master, own))
        remote = any(f.kind == "remote" for f in wanted)
        results = await (
            self._with_remote(host, master, wanted) if remote else self._ensured(host.name, master, wanted)
        )
        results = tuple(self._with_owner(r) for r in results)
        living = self._living()
        if master.pid not in living:
            return  # the master ended, so its record is gone, too
        self._remote_cleanup.forget(living)
        self._opened = {pid: f for pid, f in self._opened.items() if pid in living}
        self._keep(master, tuple(r.forward for r in results if r.state == "open"))
        self._local_sockets.made(master.pid, wanted_forwards(host))
        self._remote_cleanup.made(host.name, self._opened[master.pid])
        results = tuple(r for r in results if r.forward in own)
        self._shell.post(ForwardsChanged(time.monotonic(), host.name, master.pid, results))

    def _of_others(self, host: Host, master: Master, own: tuple[Forward, ...]) -> tuple[Forward, ...]:
        """Return the open forwards of other hosts that use the same master. A round must not close them."""
        users = users_of_connection(master.pid, self._shell.state.hosts)
        theirs = {forward for user in users if user.name != host.name for forward in wanted_forwards(user)}
        return tuple(forward for forward in self._already(master) if forward in theirs and forward not in own)

    def _with_owner(self, result: ForwardState) -> ForwardState:
        """Return the result of a forward. If a local one failed, add which host's connection has its port."""
        port = result.forward.listen.port
        if result.state != "failed" or result.forward.kind == "remote" or port == 0:
            return result
        hosts = {master.pid: h.name for h in self._shell.state.hosts.values() for master in h.masters}
        try:
            owner = next((hosts[one.pid] for one in all_listeners({port}) if one.pid in hosts), None)
        except TrayagentError:
            return result
        if owner is None:
            return result
        return replace(
            result, error=f"port {port} belongs to the connection of {owner}; only one can have it"
        )

    async def _ensured(
        self,
        name: str,
        master: Master,
        wanted: tuple[Forward, ...],
        cleared: Callable[[], Awaitable[None]] | None = None,
    ) -> tuple[ForwardState, ...]:
        log = self._file_paths.master_log(master.pid)
        return await ensure(
            master.control_path,
            master.pid,
            wanted,
            self._already(master),
            log=log if log.exists() else None,
            cleared=cleared,
            rtt_s=master.min_rtt_s,
            local_sockets=self._local_sockets,
            progress=partial(self._progress, name, master),
        )

    def _progress(self, name: str, master: Master, results: tuple[ForwardState, ...]) -> None:
        """Post and record the results so far. The server's answer about a remote forward may be slow."""
        host = self._shell.state.hosts.get(name)
        current = host.forwarding_master if host is not None else None
        if host is None or current is None or current.pid != master.pid:
            return
        already = set(self._already(master))
        shown = {f.forward: f for f in host.forwards.states if f.forward in already and f.state == "open"}
        opening = tuple(
            shown.get(r.forward, r) if r.state == "opening" else r for r in _still_opening(results)
        )
        self._keep(master, (*(r.forward for r in opening if r.state == "open"),))
        own = _wanted(host, master)
        opening = tuple(r for r in opening if r.forward in own)
        self._shell.post(ForwardsChanged(time.monotonic(), name, master.pid, opening, final=False))

    def _living(self) -> set[int]:
        hosts = self._shell.state.hosts.values()
        return {m.pid for host in hosts for m in host.masters}

    def _keep(self, master: Master, opened: tuple[Forward, ...]) -> None:
        self._opened[master.pid] = opened
        self._records.set_forwards(master.pid, [written(f) for f in opened])

    async def _with_remote(
        self, host: Host, master: Master, wanted: tuple[Forward, ...]
    ) -> tuple[ForwardState, ...]:
        """Request all forwards. First end our dead sessions, which may hold remote ones. Then retry refused ones."""
        helped = False

        async def clear(refused: bool) -> None:
            nonlocal helped
            await self._lost_connections.end_all(host.name, master)
            outcome = await self._remote_cleanup.clear(host, master, wanted, refused=refused)
            helped |= outcome is not None and outcome.helped

        async def cleared() -> None:
            await asyncio.wait({clearing}, timeout=CLEAR_PATIENCE_S)

        self._remote_cleanup.note(host, master)
        clearing = self._tasks.start(f"reap {master.pid}", clear(False))
        try:
            results = await self._ensured(host.name, master, wanted, cleared)
            if not any(r.refused for r in results):
                return results
            own = _wanted(host, master)
            opening = tuple(r for r in _still_opening(results) if r.forward in own)
            self._shell.post(ForwardsChanged(time.monotonic(), host.name, master.pid, opening, final=False))
            await asyncio.wait({clearing})
        except asyncio.CancelledError:
            clearing.cancel()
            raise
        await clear(True)
        for pause_s in AGAIN_S if helped else ():
            await asyncio.sleep(pause_s)
            results = await self._ensured(host.name, master, wanted)
            if not any(r.refused for r in results):
                return results
        return tuple(_explained(r, self._remote_cleanup.outcome(master)) if r.refused else r for r in results)

    def end_lost_sessions(self, host: Host, outer: Master) -> None:
        """Record the remote session of an outer master, and end the dead sessions of earlier outer masters.

        Otherwise each move leaves one more sshd process on the server. Returns immediately.
        """
        self._remote_cleanup.note(host, outer)
        task = f"reap {outer.pid}"
        if not self._tasks.running(task):
            self._tasks.start(task, self._clear(host, outer))

    async def _clear(self, host: Host, outer: Master) -> None:
        await self._remote_cleanup.clear(host, outer, (), refused=False)

    def opened(self, host: Host, master: Master) -> tuple[Forward, ...]:
        """Return the forwards that a master may have open, for a caller that closes them next.

        From now on `busy` reports the master, so that a canceled forward there does not count as the user's wish.
        """
        self._moving = {pid for pid in self._moving if pid in self._living()} | {master.pid}
        return tuple(dict.fromkeys((*wanted_forwards(host), *self._already(master))))

    def busy(self, pid: int) -> bool:
        """Report whether the agent is opening or closing forwards of a master, or has moved them to another one."""
        return pid in self._moving or self._tasks.running(f"forwards {pid}")

    def note_open(self, host: Host, master: Master, found: tuple[Forward, ...]) -> None:
        """Note forwards of a master that its clients opened, so that no round closes or repeats them."""
        self._keep(master, tuple(dict.fromkeys((*self._already(master), *found))))
        self._local_sockets.made(master.pid, found)
        self._remote_cleanup.made(host.name, found)
        if any(forward.kind == "remote" for forward in found):
            self._remote_cleanup.note(host, master)

    async def close_all(self, host: Host, master: Master) -> None:
        """Close all forwards of a master, because another master of the host is about to open them."""
        self._tasks.cancel(f"forwards {master.pid}")
        await ensure(master.control_path, master.pid, (), self.opened(host, master))
        self._keep(master, ())

    def _already(self, master: Master) -> tuple[Forward, ...]:
        """Return the forwards that are open, by this agent's memory or else by an earlier agent's record."""
        if master.pid in self._opened:
            return self._opened[master.pid]
        lines = self._records.opened(master.pid, master.start_ticks)
        return tuple(forward for line in lines if (forward := read_forward(line)) is not None)


def _still_opening(results: tuple[ForwardState, ...]) -> tuple[ForwardState, ...]:
    return tuple(replace(r, state="opening", error=None, refused=False) if r.refused else r for r in results)


def _explained(result: ForwardState, outcome: Reaped | None) -> ForwardState:
    listen = result.forward.listen
    return replace(result, error=still_refused(listen.path or f"port {listen.port}", outcome))


def _wanted(host: Host, master: Master) -> tuple[Forward, ...]:
    """Return the forwards that the master should have.

    If the user started the master, leave out the forwards of ssh_config: the user's ssh opens those.
    """
    if master.started_by_agent:
        return wanted_forwards(host)
    return tuple(dict.fromkeys((*host.wish.forwards, *host.forwards.by_hand)))
