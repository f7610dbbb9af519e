"""Finds ssh processes that have a connection of their own beside a master, such as a terminal that bypassed it.

No control socket leads to such an ssh, so the agent cannot probe it. The agent searches for them when the user views
the status, and with `beside = "end"` also at each change of network.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath

from trayagent.agent.masters.ends_of_connection import with_ends, without_ends
from trayagent.agent.parts import Parts
from trayagent.core.facts.draining import Beside, Draining
from trayagent.core.facts.events import DrainingFound
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.errors import TrayagentError
from trayagent.ssh.command_line import jump_host_of, server_names_of
from trayagent.ssh.master.end_master import ending_signal
from trayagent.ssh.master.name_unnamed_master import unnamed_master_name
from trayagent.ssh.os.control_sockets import listening
from trayagent.ssh.os.local_daemons import may_use_daemon
from trayagent.ssh.os.namespaces import in_other_namespace
from trayagent.ssh.os.process import Process, age_s, alive, read, ssh_processes
from trayagent.ssh.os.tcp_connection import Flow, flow_of, transport_of
from trayagent.ssh.os.terminals import terminal_of

# If one of these started an ssh, the user typed the command, or the ssh is itself a service: there is no other caller.
_SHELLS = {
    "sh",
    "bash",
    "dash",
    "zsh",
    "fish",
    "ksh",
    "tcsh",
    "csh",
    "login",
    "systemd",
    "init",
    "tmux",
    "screen",
}
# A search reads the name of each process of the user. So pause after it for this many times its own time. Then a
# program that requests the status again and again does not keep the agent busy.
_PAUSE = 49
# A younger ssh may still be starting its ProxyCommand. Then its pipes lead to no process yet.
_STARTED_S = 2.0
_OWN_OPTION = "LogVerbose="  # each ssh that the agent starts has this option


class BesideSessions:
    """Finds such processes. Each is posted as an event, once."""

    def __init__(self, parts: Parts) -> None:
        self._configuration = parts.configuration
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._not_before = 0.0
        self._unlisted: dict[int, int] = {}  # pid and start time of each ssh of an unknown host

    def unlisted(self) -> int:
        """Return how many ssh processes of other hosts the last search found that still run, with `beside = "show"`."""
        return sum(alive(pid, start_ticks) for pid, start_ticks in self._unlisted.items())

    def start(self) -> None:
        """Search now with `beside = "end"`. Call this once the hosts and their masters are known."""
        if self._configuration.config.agent.beside == "end" and not self._tasks.running("beside"):
            self._tasks.start("beside", self._scan())

    def happened(self, event: dict[str, object]) -> None:
        """Search at each change of network, but only with `beside = "end"`."""
        if event["event"] == "network-changed" and self._shell.state.started:
            self.start()

    def viewed(self) -> None:
        """Search because the user views the status, unless the last such search was only a moment ago."""
        if time.monotonic() < self._not_before:
            return
        began = time.process_time()
        self._search()
        self._not_before = time.monotonic() + _PAUSE * (time.process_time() - began)

    async def _scan(self) -> None:
        self._search()

    def _search(self) -> None:
        """Post each new session of a host that the agent knows. Count the others.

        With `beside = "end"`, also post sessions of other hosts: autossh or a unit restarts such an ssh once it ends.
        """
        hosts = {h.name: h for h in self._shell.state.hosts.values() if h.draining is None}
        known = {m.pid for h in self._shell.state.hosts.values() for m in h.masters}
        others = self._configuration.config.agent.beside == "end"
        self._unlisted = {}
        serving: set[int] | None = None
        for process in _candidates(known):
            try:
                flow = flow_of(process.pid)
                if flow is not None and flow.via == "carried":
                    continue
                master = _master(process, flow)
                if flow is None and not (master.datagrams and age_s(process) > _STARTED_S):
                    continue
                owner = _owner(process, flow, hosts)
                if owner is None and others and master.peer is not None:
                    owner = unnamed_master_name(master, process)
                if owner is None and (others or flow is None):
                    continue
                if serving is None:
                    serving = _masters_and_transports(known)
                names = server_names_of(process.argv)
                all_names = frozenset((*names, *_jump_hosts(process, flow)))
            except TrayagentError:
                return
            if process.pid in serving:
                continue
            if owner is None:
                self._unlisted[process.pid] = process.start_ticks
            else:
                self._post(process, master, owner, named=owner in names, names=all_names)

    def _post(
        self, process: Process, master: Master, owner: str, *, named: bool, names: frozenset[str]
    ) -> None:
        made_at = time.monotonic() - age_s(process)
        ended_by = ending_signal(process.pid).name.removeprefix("SIG")
        beside = Beside(terminal_of(process.pid), _caller(process), ended_by, named=named, names=names)
        draining = Draining(owner, made_at, sessions=1, beside=beside)
        self._shell.post(DrainingFound(time.monotonic(), master, draining))


def _candidates(known: set[int]) -> Iterator[Process]:
    """Yield each ssh that may have its own connection. `known` are the pids of the known masters.

    Most machines have no such ssh, so nothing else of the known masters is read to find that out.
    """
    if sys.platform != "linux":
        return
    processes = ssh_processes(os.getuid(), but=known)
    ssh = known | {process.pid for process in processes}
    for process in processes:
        if process.ppid in ssh or process.ppid == os.getpid():
            continue
        if any(word.startswith(_OWN_OPTION) for word in process.argv) or in_other_namespace(process.pid):
            continue
        yield process


def _masters_and_transports(known: set[int]) -> set[int]:
    """Return the pids of all masters, and of the processes that carry them."""
    masters = known | {socket.pid for socket in listening(os.getuid())}
    return masters | {one.pid for pid in masters for one in transport_of(pid)}


def _owner(process: Process, flow: Flow | None, hosts: Mapping[str, Host]) -> str | None:
    """Return the host to which an ssh is connected: by its command line, or else by the server's address."""
    named = next((name for name in server_names_of(process.argv) if name in hosts), None)
    if named is not None:
        return named
    if flow is None:
        return None
    peer = (flow.peer_ip, flow.peer_port)
    return next((name for name, host in hosts.items() if peer in _ends(host)), None)


def _jump_hosts(process: Process, flow: Flow | None) -> Iterable[str]:
    """Return the names of an ssh's jump hosts. Raise NetlinkError."""
    transport = transport_of(process.pid) if flow is None or flow.via == "child" else ()
    return (name for one in transport if (name := jump_host_of(one.argv)) is not None)


def _ends(host: Host) -> Iterable[tuple[str, int]]:
    if host.master is not None and host.master.peer is not None:
        yield host.master.peer, host.master.peer_port
    if host.hop is not None:
        yield from ((address, host.hop.port) for address in host.addresses)


def _caller(process: Process) -> str:
    """Return the program that started an ssh, such as git. Return "" if a shell or the like did."""
    parent = read(process.ppid)
    if parent is None or parent.comm.lstrip("-").partition(":")[0] in _SHELLS:
        return ""
    return PurePath(parent.comm).name


def _master(process: Process, flow: Flow | None) -> Master:
    """Return the facts of an ssh. If nothing shows which connection carries it, the ends are not set.

    Raise NetlinkError.
    """
    master = Master(process.pid, process.start_ticks, "", program=process.comm)
    if flow is not None and flow.via == "child" and may_use_daemon(process.pid):
        return without_ends(master, flow)
    return with_ends(master, flow)
