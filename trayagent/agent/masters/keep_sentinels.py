"""Starts and ends the sentinels: each healthy master has the one that the configuration wants."""

from __future__ import annotations

import asyncio
import logging
import time
from math import inf

from trayagent.agent.forwards.remote_cleanup import RemoteCleanup
from trayagent.agent.parts import Parts
from trayagent.core.facts.events import ProbeAnswered
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.state import State
from trayagent.core.policy.when_to_start_sentinel import sentinel_due_at
from trayagent.errors import TrayagentError
from trayagent.netlink.errors import NetlinkError
from trayagent.ssh.master.sentinel import Sentinel
from trayagent.ssh.mux.errors import Timeout
from trayagent.ssh.os.carried import sessions_of as count_sessions

log = logging.getLogger(__name__)

_AT_ONCE = 8  # when the logins after a move are over, a hundred sentinels may be due

SESSIONS_MOST = 6
"""With this many sessions of the user on a master, the agent ends its sentinel. Of the usual 10 sessions, three are
still free then. They are needed because the server notices the end only after a round trip, and the user may open
several terminals in quick succession."""


class SentinelKeeper:
    """The sentinels by the pids of their masters."""

    def __init__(self, parts: Parts, remote_cleanup: RemoteCleanup) -> None:
        self._configuration = parts.configuration
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._records = parts.records
        self._remote_cleanup = remote_cleanup
        self._without: set[int] = set()
        self._sentinels: dict[int, Sentinel] = {}
        self._hosts: dict[int, tuple[str, Master]] = {}  # the host and master of each sentinel
        self._starting: set[int] = set()  # the masters of the sentinels that are being started
        self._waiting = False  # whether a sentinel waits until one of these is ready
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def get(self, pid: int) -> Sentinel | None:
        """Return the sentinel of the master with this pid, None if it has none."""
        return self._sentinels.get(pid)

    def follow(self, state: State) -> None:
        """Start and end sentinels for this state."""
        hosts = [h for h in state.hosts.values() if h.draining is None]
        living = {h.master.pid for h in hosts if h.master is not None}
        for pid in [*self._sentinels]:
            if pid not in living:
                self._sentinels[pid].close()
                self._drop(pid)
        for pid in self._starting - living:
            self._tasks.cancel(_task(pid))
        self._starting &= living
        self._without &= living
        now, later_at = time.monotonic(), inf
        self._waiting = False
        for host in hosts:
            master = host.master
            if master is None or host.suspect or not self._wants(host):
                continue
            if self._tasks.running(f"reap {master.pid}"):
                continue  # the server may allow one session only, and ending dead sessions needs that one first
            if master.pid in self._sentinels or master.pid in self._without or master.pid in self._starting:
                continue
            due_at = sentinel_due_at(host, state, now)
            if due_at > now:
                later_at = min(later_at, due_at)
            elif len(self._starting) < _AT_ONCE:
                self._starting.add(master.pid)
                self._tasks.start(_task(master.pid), self._start(host.name, master))
            else:
                self._waiting = True
        self._look_again(later_at)

    def _look_again(self, at: float) -> None:
        """Start the sentinels that are due at this time, inf if none is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at < inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(at, lambda: self.follow(self._shell.state))

    def _wants(self, host: Host) -> bool:
        allowed = self._records.has_sentinel(host.name) and not self._records.few_sessions(host.name)
        return self._configuration.wants_sentinel(host) and allowed

    def master(self, pid: int) -> tuple[str, Master] | None:
        """Return the host and the master with this pid if it has a sentinel, else None."""
        return self._hosts.get(pid)

    def give_way(self, pid: int) -> None:
        """End the sentinel, and start no other sentinel on this master."""
        self._without.add(pid)
        sentinel = self._sentinels.get(pid)
        self._drop(pid)
        if sentinel is not None:
            sentinel.close()

    def close(self) -> None:
        """End the sentinels. The masters keep running."""
        self._closed = True
        self._look_again(inf)
        for sentinel in self._sentinels.values():
            sentinel.close()
        self._sentinels.clear()

    async def _start(self, name: str, master: Master) -> None:
        try:
            await self._begin(name, master)
        finally:
            self._starting.discard(master.pid)
            if self._waiting and not self._closed:
                self.follow(self._shell.state)

    async def _begin(self, name: str, master: Master) -> None:
        if sessions_of(master.pid) >= SESSIONS_MOST:
            self._without.add(master.pid)
            return
        try:
            sentinel = await Sentinel.start(master.control_path)
        except Timeout:
            if self._shell.is_healthy(name, master):
                self._unavailable(name)
            return
        except TrayagentError as error:
            log.info("%s: no sentinel on pid %d: %s", name, master.pid, error.title)
            self._without.add(master.pid)
            return
        if sentinel is None:
            self._unavailable(name)
            return
        sentinel.flooded = lambda: self._unavailable(name)
        sentinel.answered = lambda: self._shell.post(ProbeAnswered(time.monotonic(), name, master.pid))
        sentinel.ended = lambda: self._drop(master.pid)
        self._sentinels[master.pid] = sentinel
        self._hosts[master.pid] = (name, master)
        self._remote_cleanup.identified(name, master, sentinel.session)

    def _unavailable(self, name: str) -> None:
        log.info(
            "%s: the server runs no sentinel (a forced command, or endless output?); probing by forwards",
            name,
        )
        self._records.no_sentinel(name)

    def _drop(self, pid: int) -> None:
        self._sentinels.pop(pid, None)
        self._hosts.pop(pid, None)


def sessions_of(pid: int) -> int:
    """Return how many sessions of other programs a master carries, 0 if the kernel cannot list them."""
    try:
        return count_sessions(pid)
    except NetlinkError:
        return 0


def _task(pid: int) -> str:
    return f"sentinel {pid}"
