"""Finds the living masters, their control paths and their hosts."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from trayagent.agent.masters.ends_of_connection import with_ends
from trayagent.agent.masters.own_control_path_links import is_own_link, leads_to, second_link
from trayagent.agent.parts import Parts
from trayagent.agent.state.host_records import remembered
from trayagent.agent.state.resolve_when_needed import Answer, Resolver
from trayagent.core.facts.events import MasterFound
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.state import State
from trayagent.core.policy.admission import admission
from trayagent.core.policy.shared_control_path import fits, held_by_another
from trayagent.errors import TrayagentError
from trayagent.ssh.master.end_master import end
from trayagent.ssh.master.name_unnamed_master import unnamed_master_name
from trayagent.ssh.master.read_origin import read_origin
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.new_control_path import default_in
from trayagent.ssh.os.control_sockets import ControlSocket, accepts, bound_by_master, listening, owner_of
from trayagent.ssh.os.namespaces import in_other_namespace, owner_elsewhere
from trayagent.ssh.os.process import Process, age_s, read
from trayagent.ssh.os.tcp_connection import flow_of
from trayagent.ssh.os.terminals import prints_to_terminal

_BIND_SUFFIX = len(".0123456789abcdef")  # ssh adds a dot and 16 random characters before it binds
LIVING_S = 0.1  # if a listener has no visible process for longer than this, it is in another namespace
_SCAN_AGAIN_S = 0.01
# The socket from which an inner master's ProxyCommand gets its connection (`agent/roaming/inner_master.py`).
_INNER_CONNECTION = re.compile(r"(/\S+)/connection-\d+-inner-\d+(?!\S)")
FRESH_S = 5.0  # a younger master has just logged in, so it needs no probe


class Holder(Struct, frozen=True):
    """What occupies a control path. `pid` listens there, None if no listener is visible from here.

    `adoptable`: the listener is a master of this user in the agent's own namespaces. `words` describe the occupant.
    """

    pid: int | None
    adoptable: bool
    words: str


async def _holder(process: Process, path: str) -> Holder:
    words = " ".join(process.argv) or process.comm
    if in_other_namespace(process.pid):
        elsewhere = f"in another container or network namespace: {words}"
        return Holder(process.pid, adoptable=False, words=elsewhere)
    return Holder(process.pid, adoptable=await is_master(process, path), words=words)


async def is_master(process: Process, path: str) -> bool:
    """Report whether a process that listens on this path is a master.

    A program with another name than ssh counts if it bound the socket as ssh does and answers as a master.
    """
    if process.comm == "ssh":
        return True
    try:
        if not bound_by_master(path):
            return False
        async with MuxClient.connected(path, timeout_s=LIVING_S) as client:
            return await client.alive(timeout_s=LIVING_S) == process.pid
    except TrayagentError:
        return False


def describe(
    pid: int, path: str, *, started_by_agent: bool, proven: tuple[str | None, str | None] = (None, None)
) -> Master | None:
    """Return the facts of a living master, None if the process has ended.

    `proven`: the proven host key of the server, and where the host's name led (`Resolved.target`). Each may be None.
    """
    host_key, target = proven
    process = read(pid)
    if process is None:
        return None
    master = Master(
        pid,
        process.start_ticks,
        path,
        started_by_agent=started_by_agent,
        host_key=host_key,
        target=target,
        program=process.comm,
        prints=not started_by_agent and prints_to_terminal(pid),
    )
    return with_ends(master, flow_of(pid))


class Discovery:
    """Finds masters and the hosts that they belong to. Each new master is posted as an event."""

    def __init__(self, parts: Parts, resolver: Resolver) -> None:
        self._file_paths = parts.file_paths
        self._shell = parts.shell
        self._records = parts.records
        self._resolver = resolver

    def control_path(self, host: Host) -> str:
        """Return the control path of a host's next master.

        It is the ControlPath of ssh_config, or else a short path in the runtime folder. While the host roams, the inner
        master listens there, so the next outer master gets the hidden path.
        """
        if host.hidden_path is not None:
            return host.hidden_path
        if host.resolved is not None and host.resolved.control_path is not None:
            return host.resolved.control_path
        return default_in(self._file_paths.runtime_dir, host.name)

    def path_of_next(self, host: Host) -> str:
        """Return the path that the host's next master will take over.

        It is the path of the present master, even if ssh_config has another ControlPath by now. That one may be on
        another file system, and a socket cannot be moved there, so it becomes a link (`link_added_control_path`).
        """
        if host.hidden_path is not None or host.master is None:
            return self.control_path(host)
        return host.master.control_path

    async def holder(self, path: str, likely: int | None = None) -> Holder | None:
        """Return what occupies this path now, None if the path is free. A renamed socket counts, too.

        `likely` is the pid that probably listens there; it is checked first.
        """
        try:
            found = os.lstat(path)
        except OSError:
            return None
        if found.st_uid != os.getuid():
            return Holder(None, adoptable=False, words=f"a file of another user (uid {found.st_uid})")
        if is_own_link(path, self._file_paths.runtime_dir / "cm"):
            return None  # a new master replaces the link
        if not stat.S_ISSOCK(found.st_mode):
            return Holder(None, adoptable=False, words="a file that is not a socket")
        until = time.monotonic() + LIVING_S
        while True:
            pid = owner_of(path, likely=likely)
            process = read(pid) if pid is not None else None
            if process is not None:
                return await _holder(process, path)
            if not accepts(path):
                return None
            if time.monotonic() > until:
                elsewhere = "a program in another container or network namespace"
                return Holder(owner_elsewhere(path), adoptable=False, words=elsewhere)
            await asyncio.sleep(_SCAN_AGAIN_S)  # while a master forks, it is visible under neither pid

    async def other_owner(self, host: Host, pid: int, path: str) -> str | None:
        """Return the name of another host, if the master on this host's control path belongs to that host.

        None: the master is this host's, or nothing shows which host it belongs to.
        """
        state = self._shell.state
        other = held_by_another(host, state.hosts, pid)
        if other is not None:
            return other.name
        master = describe(pid, path, started_by_agent=False)
        if master is None or pid in self._records.inner_pids():
            return None  # an inner master connects through the near relay, whatever the host's route is
        if fits(host.resolved, master, read_origin(pid, direct=master.direct and master.peer is not None)):
            return None
        name, _ = await self._name(master, state)
        return name if name != host.name else None

    def heir(self, name: str, master: Master) -> Master | None:
        """Return the master that now listens on an ended master's path.

        None if no master of this host listens there.
        """
        pid = owner_of(master.control_path)
        if pid is None or pid == master.pid or in_other_namespace(pid):
            return None
        host = self._shell.state.hosts.get(name)
        if host is not None and held_by_another(host, self._shell.state.hosts, pid) is not None:
            return None
        process = read(pid)
        recorded = self._records.proven(pid, process.start_ticks) if process is not None else (None, None)
        # A recorded listener is the new master of a take-over. Otherwise the ended master forked, and the listener has
        # the same connection.
        kept = self._records.path_of(pid) is not None
        proven = recorded if kept else (master.host_key, master.target)
        return describe(pid, master.control_path, started_by_agent=master.started_by_agent, proven=proven)

    def is_known(self, path: Path) -> bool:
        """Report whether a socket belongs to a known master or to an attempt of the agent, so no scan need find it."""
        begun = str(path).removesuffix(path.suffix) if len(path.suffix) == _BIND_SUFFIX else str(path)
        if self._records.is_begun(begun):
            return True
        try:
            pid = owner_of(str(path))
        except TrayagentError:
            return False
        return pid in _known_pids(self._shell.state) | self._records.inner_pids()

    async def scan(self) -> None:
        """Check all control sockets, and post a MasterFound for each master that is not known yet."""
        sockets = listening(os.getuid())
        self._records.keep_only({s.pid for s in sockets})
        present = {s.path: s.pid for s in sockets if s.present}
        known = self._records.draining().keys() | self._records.inner_pids() | self._records.outer_pids()
        known |= _known_pids(self._shell.state)
        for socket in sockets:
            if socket.pid in known or in_other_namespace(socket.pid):
                continue
            if socket.pid in _known_pids(self._shell.state):  # a task may have found it meanwhile
                continue
            path = self._records.path_of(socket.pid) or socket.path  # the agent renamed the socket
            if not socket.present and path in present:
                await self._pushed_aside(socket, present[path])
            else:
                await self._found(socket, self._shell.state)

    async def _pushed_aside(self, socket: ControlSocket, successor: int) -> None:
        """Handle a master that no client can reach, because another master (`successor`) has its path.

        If trayagent started both, an agent died during a take-over. Then end the unreachable one.
        """
        processes = [read(pid) for pid in (socket.pid, successor)]
        if not all(
            p is not None and self._records.is_started_by_agent(p.pid, p.start_ticks) for p in processes
        ):
            return
        master = describe(socket.pid, socket.path, started_by_agent=True)
        if master is not None:
            await end(master, politely=False)
            self._records.drop_master(master.pid)

    async def _found(self, socket: ControlSocket, state: State) -> None:
        if self._records.is_begun(socket.path):
            return
        process = read(socket.pid)
        if process is None:
            return
        started_by_agent = self._records.is_started_by_agent(socket.pid, process.start_ticks)
        if not started_by_agent and not await is_master(process, socket.path):
            return
        proven = self._records.proven(socket.pid, process.start_ticks)
        master = describe(socket.pid, socket.path, started_by_agent=started_by_agent, proven=proven)
        if master is None:
            return
        master = self._records.as_made(master)
        if not started_by_agent and relayed_from(process.argv, other_than=self._file_paths.runtime_dir):
            master = replace(master, relayed=True)
        name, answer = await self._name(master, state)
        host = self._shell.state.hosts.get(name)  # another scan may have found the master meanwhile
        known = answer is not None or started_by_agent or (host is not None and not host.unnamed)
        fresh = age_s(process) < FRESH_S
        kept = self._records.hosts().get(name) if host is None else None
        if kept is not None:  # the record of an unlisted host may have a pause or its networks
            self._shell.post(remembered(name, kept, time.monotonic()))
        up = self._records.up(name)
        survivor = up is not None and (up.pid, up.start) == (master.pid, master.start_ticks)
        self._shell.post(MasterFound(time.monotonic(), name, master, not known, fresh, survivor))
        if answer is not None:
            self._shell.post(answer.event(name))

    async def _name(self, master: Master, state: State) -> tuple[str, Answer | None]:
        """Return the name of a master's host, and the answer of `ssh -G` if this call had to run ssh.

        If several hosts have the master's path, choose by the record, the command line, the connection and the route.
        """
        path = master.control_path
        recorded = self._records.host_of(master.pid, master.start_ticks)
        here = [
            host
            for host in state.hosts.values()
            if not host.unnamed and (self.control_path(host) == path or self._linked(host.name, path))
        ]
        if any(host.name == recorded for host in here):
            return str(recorded), None
        origin = read_origin(master.pid, direct=master.direct and master.peer is not None)
        here.sort(
            key=lambda host: (
                host.name != origin.name,
                not fits(host.resolved, master, origin),
                host.name not in origin.client_names,
                master.peer not in host.addresses,
            )
        )
        first = here[0] if here else None
        if first is not None and (first.name == origin.name or fits(first.resolved, master, origin)):
            return first.name, None
        if recorded is not None and first is None:
            return recorded, await self._answer(recorded, state)
        alias = await self._resolver.alias_of(
            path,
            lambda name: self._may_resolve(name, state),
            lambda name, resolved: name == origin.name or fits(resolved, master, origin),
            {origin.name or "", *origin.client_names},
        )
        if alias is not None:
            return alias
        if first is not None:
            return first.name, None
        # No alias leads to the server as this master does, for example after `ssh -J`.
        alias = await self._resolver.alias_of(path, lambda name: self._may_resolve(name, state))
        if alias is not None:
            return alias
        return _unique(unnamed_master_name(master, read(master.pid)), master, state.hosts), None

    def _linked(self, name: str, path: str) -> bool:
        """Report whether an earlier agent linked the control path of this host to a socket at `path`."""
        return leads_to(second_link(self._file_paths.runtime_dir, name), path)

    async def _answer(self, name: str, state: State) -> Answer | None:
        """Run `ssh -G` for an unlisted host, because nothing else does so. Return the answer, None on failure."""
        host = state.hosts.get(name)
        if host is not None and (host.wish.listed or host.resolved is not None):
            return None
        try:
            return await self._resolver.resolve(name, lookups=self._may_resolve(name, state))
        except TrayagentError:
            return None

    def _may_resolve(self, name: str, state: State) -> bool:
        """Report whether a host may be connected on this network, so that ssh may resolve its name."""
        host = state.hosts.get(name)
        if host is not None:
            return admission(host, state).open
        kept = self._records.hosts().get(name)
        return kept is None or not (kept.vpn or kept.networks)


def relayed_from(argv: Sequence[str], *, other_than: Path) -> bool:
    """Report whether an ssh with these arguments is the inner master of an agent with another runtime directory.

    An agent keeps the connection of its own inner masters in its records, so it need not recognize them here. If these
    records were lost, no agent can attach the connection again, and it is judged like any other.
    """
    found = (match for word in argv if (match := _INNER_CONNECTION.search(word)) is not None)
    return any(Path(match[1]) != other_than for match in found)


def _known_pids(state: State) -> frozenset[int]:
    """Return the pids of the known masters, and of new masters that are about to take over a control path."""
    # Leave out an ssh that was found beside a master: if it listens now, it has become a master.
    hosts = [h for h in state.hosts.values() if h.draining is None or h.draining.beside is None]
    masters = [master for h in hosts for master in h.masters]
    ready = [h.attempt.ready for h in state.hosts.values() if h.attempt is not None]
    return frozenset(m.pid for m in (*masters, *ready) if m is not None)


def _unique(name: str, master: Master, hosts: Mapping[str, Host]) -> str:
    """Return the name. If another living master already has the name, add a number."""
    number, candidate = 1, name
    while True:
        other = hosts.get(candidate)
        if other is None or other.master is None or other.master.pid == master.pid:
            return candidate
        number += 1
        candidate = f"{name}#{number}"
