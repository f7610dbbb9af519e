"""Effects that move a new master to the control path of the old master, and that end masters."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from pathlib import Path

from msgspec.structs import replace

from trayagent.agent.forwards.agent_socket_link import AgentSocketLinks
from trayagent.agent.forwards.wanted_forwards import LostConnections
from trayagent.agent.masters.connect import MasterConnector, bug
from trayagent.agent.masters.control_path_checks import shared, taken
from trayagent.agent.masters.control_path_locks import PathLocks
from trayagent.agent.masters.discovery import Discovery, Holder, describe
from trayagent.agent.masters.drain_master import MasterDrainer, without_socket
from trayagent.agent.masters.obstacle_gone import Obstacles
from trayagent.agent.parts import Parts
from trayagent.core.facts import actions as a
from trayagent.core.facts.events import TakeOverFailed, TookOver
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.problems import Problem
from trayagent.core.problem_texts import NO_ROOM, unwritable
from trayagent.ssh.master.end_master import end, end_session
from trayagent.ssh.new_control_path import remove_fresh
from trayagent.ssh.os.process import read
from trayagent.ssh.os.swap_files import exchange, rename_new

_TRIES = 3
_FAREWELL_S = 2.0  # the longest wait for the end of the host's lost far relays on the server


class MasterReplacer:
    """Renames, kills and discards masters. The results are posted as events."""

    def __init__(
        self,
        parts: Parts,
        discovery: Discovery,
        obstacles: Obstacles,
        drainer: MasterDrainer,
        connector: MasterConnector,
        agent_sockets: AgentSocketLinks,
        locks: PathLocks,
        lost_connections: LostConnections,
    ) -> None:
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._records = parts.records
        self._discovery = discovery
        self._obstacles = obstacles
        self._drainer = drainer
        self._connector = connector
        self._agent_sockets = agent_sockets
        self._locks = locks
        self._lost_connections = lost_connections

    def take_over(self, action: a.TakeOver, host: Host) -> None:
        """Move a new master to the control path of the old master."""
        self._tasks.start(f"take over {action.attempt}", self._take_over(action, host))

    def discard(self, action: a.Discard) -> None:
        """End a master that is not needed."""
        if action.silently:
            self._connector.mute(action.master, muted=True)
        unwanted = self._unwanted(action.master, politely=not action.silently)
        self._tasks.start(f"discard {action.master.pid}", unwanted)

    def kill(self, action: a.Kill) -> None:
        """End a stale or unwanted master."""
        self._tasks.start(f"kill {action.master.pid}", self._kill(action))

    async def _take_over(self, action: a.TakeOver, host: Host) -> None:
        try:
            lock = self._locks.of(host.name)
            async with lock:
                current = self._shell.state.hosts.get(host.name, host)
                await self._put_in_place(_with_current_path(action, current), current)
        except Exception:
            self._shell.post(TakeOverFailed(time.monotonic(), host.name, action.attempt, bug(host)))
            await self._unwanted(action.master)
            raise
        finally:
            self._records.end_attempt(action.master.control_path)

    async def _put_in_place(self, action: a.TakeOver, host: Host) -> None:
        path, new, old = self._discovery.control_path(host), action.master, action.old
        if old is not None:
            path = old.control_path
        second_name = self._drainer.prepare(host, old) if old is not None and action.drain else None
        if not await self._has_path(action, host, path):
            if old is not None and second_name is not None:
                self._drainer.give_up(old, second_name)
            return
        draining = None
        by_user = host.attempt is not None and host.attempt.purpose == "user"
        await self._agent_sockets.hand_over(
            host, replace(new, control_path=path), claim=by_user and old is not None
        )
        if old is not None:
            if second_name is not None:
                draining = await self._drainer.stop(host, old, second_name)
            if draining is None:
                await self._gone(old, politely=False)
            self._records.drop_master(old.pid)
        took = TookOver(time.monotonic(), host.name, action.attempt, replace(new, control_path=path))
        if old is not None and draining is not None:
            took = replace(took, drained=without_socket(old), draining=draining)
            holder = await self._discovery.holder(path, new.pid)
            if holder is not None and holder.pid not in {None, new.pid} and holder.adoptable:
                await self._keep_users_master(replace(action, old=None), host, holder, path, took)
                return
        self._records.add_master(took.master, host.name, [])
        self._shell.post(replace(took, at=time.monotonic()))

    async def _has_path(self, action: a.TakeOver, host: Host, path: str) -> bool:
        """Move the new master to its control path. If that is impossible, post the outcome and return False."""
        new, old = action.master, action.old
        try:
            holder = await self._placed(new.control_path, path, old)
        except OSError as error:
            await self._unwanted(new)
            problem = Problem("control-path-taken", f"{path}: {error.strerror}", f"Check it: ls -l {path}")
            failure = Failure(problem, "control-path")
            if isinstance(error, FileNotFoundError) and not Path(new.control_path).exists():
                # It removed its socket: the server ended the connection right after the login.
                problem = Problem("unknown", f"{host.name}: the new master ended immediately")
                failure = Failure(problem, "died")
            elif error.errno in NO_ROOM:
                failure = unwritable(str(Path(path).parent), error, positive=True)
            self._shell.post(TakeOverFailed(time.monotonic(), host.name, action.attempt, failure))
            return False
        if holder is None:
            return True
        failed = taken(path, holder)
        if holder.adoptable and holder.pid is not None:
            other = await self._discovery.other_owner(host, holder.pid, path)
            if other is None:
                await self._keep_users_master(action, host, holder, path)
                return False
            failed = shared(path, host.name, other)
        await self._unwanted(new)
        self._obstacles.held(host.name, holder.pid)
        self._shell.post(TakeOverFailed(time.monotonic(), host.name, action.attempt, failed))
        return False

    async def _placed(self, fresh: str, path: str, old: Master | None) -> Holder | None:
        """Move the socket at `fresh` to `path`. Return None on success, or else what keeps the path. Raises OSError.

        Another program may begin to listen at the path between a check and a rename, and a rename would replace its
        socket. So swap the two files atomically, and then check the file that was swapped out. Swap back if another
        process than the judged master listens there.
        """
        judged = old.pid if old is not None else None
        for _ in range(_TRIES):
            holder = await self._discovery.holder(path, judged)
            if holder is not None and (holder.pid is None or holder.pid != judged):
                return holder
            try:
                swapped = exchange(fresh, path)
            except FileNotFoundError:  # the path is free
                with contextlib.suppress(FileExistsError):
                    if not rename_new(fresh, path):
                        Path(fresh).rename(path)
                    remove_fresh(fresh)
                    return None
                continue
            if not swapped:
                Path(fresh).rename(path)
                remove_fresh(fresh)
                return None
            out = await self._discovery.holder(fresh, judged)
            if out is None or (out.pid is not None and out.pid == judged):
                remove_fresh(fresh)
                return None
            _swap_back(fresh, path)
            return out
        raise FileExistsError(errno.EEXIST, "other programs replace it all the time", path)

    async def _keep_users_master(
        self, action: a.TakeOver, host: Host, holder: Holder, path: str, took: TookOver | None = None
    ) -> None:
        """Keep a master that the user's own ssh started at the path meanwhile. End the new master and the stale one.

        `took` is the event of a take-over with a draining old master; it is posted with the user's master.
        """
        await self._unwanted(action.master)
        if action.old is not None:
            await self._gone(action.old, politely=False)
        users_master = self._described(holder.pid, path) if holder.pid is not None else None
        if users_master is None:
            problem = Problem("unknown", f"{host.name}: another master took the control path and ended")
            self._shell.post(
                TakeOverFailed(time.monotonic(), host.name, action.attempt, Failure(problem, "unknown"))
            )
            return
        took = took or TookOver(0.0, host.name, action.attempt, users_master)
        self._shell.post(replace(took, at=time.monotonic(), master=users_master, adopted=True))

    def _described(self, pid: int, path: str) -> Master | None:
        """Return the facts of a master that the user's ssh started, or the agent for another name of the account."""
        process = read(pid)
        if process is None or not self._records.is_started_by_agent(pid, process.start_ticks):
            return describe(pid, path, started_by_agent=False)
        proven = self._records.proven(pid, process.start_ticks)
        master = describe(pid, path, started_by_agent=True, proven=proven)
        return self._records.as_made(master) if master is not None else None

    async def _kill(self, action: a.Kill) -> None:
        if action.gently:
            await self._agent_sockets.release(action.name, action.master)
            with contextlib.suppress(TimeoutError):  # without a network, the far relays cannot be ended
                async with asyncio.timeout(_FAREWELL_S):
                    await self._lost_connections.stop_beginning(action.master)
                    await self._lost_connections.end_all(action.name, action.master)
        host = self._shell.state.hosts.get(action.name)
        roaming = host.roaming if host is not None else None
        if action.gently and roaming is not None and roaming.ending and roaming.carrier == action.master.pid:
            return  # it began to roam meanwhile, and its outer master ends after its inner one
        if host is not None and host.draining is not None and host.draining.beside is not None:
            await end_session(action.master)
            return
        await self._end(action.master)

    async def _gone(self, master: Master, *, politely: bool = True) -> None:
        self._connector.release_connection(master.pid)
        await end(master, politely=politely)

    async def _unwanted(self, master: Master, *, politely: bool = True) -> None:
        """End a master that never was in place. `MasterWatch` does not know it, so also remove its files here."""
        await self._end(master, politely=politely)
        self._connector.forget(master.pid)

    async def _end(self, master: Master, *, politely: bool = True) -> None:
        await self._gone(master, politely=politely)
        self._records.drop_master(master.pid)
        if not master.control_path:
            return  # a draining master has no path to clean up
        self._records.end_attempt(master.control_path)
        if await self._discovery.holder(master.control_path, master.pid) is None:
            remove_fresh(master.control_path)


def _with_current_path(action: a.TakeOver, host: Host) -> a.TakeOver:
    """Return the action with the present path of the old master. Roaming may have moved it since the decision."""
    old = action.old
    if old is None or host.master is None or host.master.pid != old.pid:
        return action
    return replace(action, old=replace(old, control_path=host.master.control_path))


def _swap_back(fresh: str, path: str) -> None:
    """Swap the file that was at `path` back. It is at `fresh` now."""
    try:
        exchange(fresh, path)
    except FileNotFoundError:  # another program removed the new socket; still put the old file back
        Path(fresh).rename(path)
