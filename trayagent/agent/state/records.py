"""The records for a later agent: which masters trayagent started, and what it learned about each host.

The state directory has one file of records for each machine, because several machines may share a home directory. Each
change is written to the file before the call returns. A master is recognized by pid, start time and boot, because
another process may get the same pid later.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from trayagent.agent.state import host_records, refusal_records
from trayagent.agent.state.machine_ids import boot_id
from trayagent.agent.state.record_file import RecordFile, Table
from trayagent.agent.state.record_types import (
    KeptAttempt,
    KeptDraining,
    KeptFar,
    KeptHost,
    KeptMaster,
    KeptRoaming,
    KeptSocket,
    KeptUp,
)
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master


def records_path(state_dir: Path, mark: str) -> Path:
    """Return the path of the records file of the machine with this mark.

    An older version had one file for all machines. If only that file exists, rename it.
    """
    old = state_dir / "agent.json"
    path = state_dir / f"agent-{mark}.json" if mark else old
    if path != old and not path.exists():
        with contextlib.suppress(OSError):
            old.rename(path)
    return path


class Begun(Struct, frozen=True):
    """An attempt in progress: its host, the control path that it is meant for, and its log.

    `trusted`: the same login had just succeeded, so its account is not locked if one more is refused.
    """

    host: str
    target: str
    log: str
    trusted: bool = False


class SshAgent(Protocol):
    """Identifies the ssh-agent."""

    def agent_mark(self) -> str:
        """Return an identifier of the current ssh-agent."""


class Records:
    """The records, in memory and in their file."""

    def __init__(
        self, path: Path, ssh_agent: SshAgent | None = None, *, spare_dir: Path | None = None
    ) -> None:
        """Read the file. While its file system is full, the records are written to `spare_dir`."""
        self._file = RecordFile(path, spare_dir / path.name if spare_dir is not None else None)
        self._ssh_agent = ssh_agent
        self._boot = boot_id()
        self._kept = self._file.read()

    def close(self) -> None:
        """Write the whole file, so that an older version can read the file, too."""
        self._file.write(self._kept)

    # Masters.

    def add_master(self, master: Master, host: str, forwards: list[str]) -> None:
        """Record that trayagent started this master."""
        self._kept.masters[master.pid] = KeptMaster(
            master.control_path,
            master.start_ticks,
            self._boot,
            host,
            forwards,
            master.host_key,
            master.target,
            master.mptcp,
            master.spare,
        )
        self._write("masters", master.pid)

    def drop_master(self, pid: int) -> None:
        """Forget a master that is gone."""
        if self._kept.masters.pop(pid, None) is not None:
            self._write("masters", pid)

    def is_started_by_agent(self, pid: int, start_ticks: int) -> bool:
        """Report whether trayagent started exactly this process."""
        return self._known(pid, start_ticks) is not None

    def opened(self, pid: int, start_ticks: int) -> list[str]:
        """Return the forwards that were opened on a master that trayagent started, as "kind spec"."""
        known = self._known(pid, start_ticks)
        return list(known.forwards) if known is not None else []

    def set_forwards(self, pid: int, forwards: list[str]) -> None:
        """Record which forwards are open on a master that trayagent started."""
        known = self._kept.masters.get(pid)
        if known is not None and known.forwards != forwards:
            known.forwards = forwards
            self._write("masters", pid)

    def host_of(self, pid: int, start_ticks: int) -> str | None:
        """Return the host for which trayagent started a master, None for any other master."""
        known = self._known(pid, start_ticks)
        return known.host if known is not None else None

    def proven(self, pid: int, start_ticks: int) -> tuple[str | None, str | None]:
        """Return the proven host key and the target (`Resolved.target`) of a master that trayagent started."""
        known = self._known(pid, start_ticks)
        return (known.host_key, known.target) if known is not None else (None, None)

    def as_made(self, master: Master) -> Master:
        """Return a master with what only the agent that made its connection knows about it."""
        known = self._known(master.pid, master.start_ticks)
        return replace(master, mptcp=known.mptcp, spare=known.spare) if known is not None else master

    def path_of(self, pid: int) -> str | None:
        """Return the recorded control path of a master that trayagent started."""
        known = self._kept.masters.get(pid)
        return known.path if known is not None else None

    def keep_only(self, living: set[int]) -> None:
        """Forget all masters except these."""
        gone = self._kept.masters.keys() - living
        for pid in gone:
            del self._kept.masters[pid]
        if gone:
            self._write("masters", *gone)

    # Masters that drain.

    def add_draining(self, pid: int, kept: KeptDraining) -> None:
        """Record that a master is about to drain."""
        self._kept.draining[pid] = kept
        self._write("draining", pid)

    def drop_draining(self, pid: int) -> None:
        """Forget a draining master that is gone, or that does not drain after all."""
        if self._kept.draining.pop(pid, None) is not None:
            self._write("draining", pid)

    def draining(self) -> dict[int, KeptDraining]:
        """Return the draining masters by pid."""
        return dict(self._kept.draining)

    # Attempts.

    def begin_attempt(self, path: str, begun: Begun) -> None:
        """Record that an ssh process of trayagent is about to listen on this fresh path."""
        self._kept.attempts[path] = KeptAttempt(
            begun.host, begun.target, begun.log, self._boot, begun.trusted
        )
        self._write("attempts", path)

    def end_attempt(self, path: str) -> None:
        """Forget an attempt whose master is in place or gone."""
        if self._kept.attempts.pop(path, None) is not None:
            self._write("attempts", path)

    def is_begun(self, path: str) -> bool:
        """Report whether an attempt listens on this path."""
        return path in self._kept.attempts

    def begun(self) -> dict[str, Begun]:
        """Return the attempts of this boot, by path."""
        return {
            path: Begun(known.host, known.target, known.log, known.trusted)
            for path, known in self._kept.attempts.items()
            if known.boot == self._boot
        }

    # Hosts.

    def remember(self, host: Host, now: float) -> None:
        """Record what was learned about a host. `now` is monotonic."""
        wall = time.time() - now
        kept = self._host(host.name)
        host_records.keep(kept, host, wall, self._boot)
        refusal_records.keep(kept, host, wall, self._agent_mark())
        self._write("hosts", host.name)

    def refused_unseen(self, name: str, failure: Failure, at: float, host_key: str | None = None) -> None:
        """Record a refused login that an earlier agent had begun. `at` is in seconds of the wall clock."""
        refusal_records.add(self._host(name), failure, at, self._agent_mark(), host_key)
        self._write("hosts", name)

    def hosts(self) -> Mapping[str, KeptHost]:
        """Return the records of all hosts."""
        return dict(self._kept.hosts)

    def has_sentinel(self, name: str) -> bool:
        """Report whether the server of a host can run a sentinel; True if that is unknown."""
        known = self._kept.hosts.get(name)
        return known is None or known.sentinel

    def no_sentinel(self, name: str) -> None:
        """Record that a host's server cannot run a sentinel; the agent never tries it again."""
        self._host(name).sentinel = False
        self._write("hosts", name)

    def few_sessions(self, name: str) -> bool:
        """Report whether the server of a host allows too few sessions for a sentinel; False if that is unknown."""
        known = self._kept.hosts.get(name)
        return known is not None and known.few_sessions

    def set_few_sessions(self, name: str) -> None:
        """Record that a host's server allows too few sessions for a sentinel; the agent opens none there."""
        self._host(name).few_sessions = True
        self._write("hosts", name)

    def agent_socket(self, name: str) -> str | None:
        """Return the ssh-agent socket on the server to which the agent last pointed a host's link."""
        known = self._kept.hosts.get(name)
        return known.agent_socket if known is not None else None

    def set_agent_socket(self, name: str, path: str | None) -> None:
        """Record the ssh-agent socket on the server to which a host's link points now."""
        if self.agent_socket(name) != path:
            self._host(name).agent_socket = path
            self._write("hosts", name)

    def up(self, name: str) -> KeptUp | None:
        """Return the master of a host that an agent last saw alive in this boot, None if there was none."""
        known = self._kept.hosts.get(name)
        return (
            known.up if known is not None and known.up is not None and known.up.boot == self._boot else None
        )

    def set_up(self, ups: Mapping[str, KeptUp | None]) -> None:
        """Record which masters are up, by host."""
        changed = {name: up for name, up in ups.items() if up != self.up(name)}
        for name, up in changed.items():
            self._host(name).up = up
        if changed:
            self._write("hosts", *changed)

    @property
    def boot(self) -> str:
        """The identifier of this boot."""
        return self._boot

    # What a server may still hold for a connection of trayagent.

    def far(self, name: str) -> KeptFar:
        """Return a copy of what a host's server may still hold."""
        kept = self._kept.far.get(name)
        return KeptFar() if kept is None else KeptFar(list(kept.sessions), list(kept.sockets))

    def set_far(self, name: str, kept: KeptFar) -> None:
        """Record what a host's server may still hold."""
        if kept != self.far(name):
            self._kept.far[name] = kept
            self._write("far", name)

    # Unix sockets on this machine that local forwards created.

    def local_sockets(self) -> dict[str, KeptSocket]:
        """Return the sockets by path, the newest last."""
        return dict(self._kept.local_sockets)

    def set_local_sockets(self, kept: dict[str, KeptSocket]) -> None:
        """Record the sockets."""
        if kept != self._kept.local_sockets:
            before, self._kept.local_sockets = self._kept.local_sockets, {}
            self._write("local_sockets", *before)  # the newest stays last
            self._kept.local_sockets = kept
            self._write("local_sockets", *kept)

    # Connections that roam.

    def roaming(self) -> dict[str, KeptRoaming]:
        """Return the connections that roam, or may still be open on a server, by the ID of their token."""
        return dict(self._kept.roaming)

    def set_roaming(self, kept: KeptRoaming) -> None:
        """Record a connection that roams, or update its record."""
        self._kept.roaming[kept.token[:16]] = kept
        self._write("roaming", kept.token[:16])

    def drop_roaming(self, token_id: str) -> None:
        """Forget a connection that is over at both ends."""
        if self._kept.roaming.pop(token_id, None) is not None:
            self._write("roaming", token_id)

    def roaming_of(self, inner: int) -> KeptRoaming | None:
        """Return the connection whose inner master has this pid, None if there is none."""
        return next((kept for kept in self.roaming().values() if kept.inner == inner), None)

    def outer_pids(self) -> set[int]:
        """Return the pids of the outer masters of this boot whose inner master lost the user's control path."""
        living = (
            one for one in self._kept.roaming.values() if one.lost_at is None and one.boot == self._boot
        )
        return {one.outer for one in living if one.outer is not None}

    def inner_pids(self) -> set[int]:
        """Return the pids of the inner masters of this boot. The scan for masters skips them."""
        kept = self._kept.roaming.values()
        return {one.inner for one in kept if one.inner is not None and one.boot == self._boot}

    def _known(self, pid: int, start_ticks: int) -> KeptMaster | None:
        known = self._kept.masters.get(pid)
        if known is None or known.start != start_ticks or known.boot != self._boot:
            return None
        return known

    def _agent_mark(self) -> str:
        return self._ssh_agent.agent_mark() if self._ssh_agent is not None else ""

    def _host(self, name: str) -> KeptHost:
        return self._kept.hosts.setdefault(name, KeptHost())

    def _write(self, table: Table, *keys: str | int) -> None:
        self._file.append(self._kept, table, keys)
