"""Find the TCP connection that carries an ssh process, with ps(1) and lsof(8).

The rule is the same as on Linux (see `linux_tcp_connection`): an ssh client's lowest TCP socket is its connection to
the server. An ssh client behind a proxy has two pipes to the proxy instead. Then the proxy has the TCP socket, or a
Unix socket to another master. macOS does not report the state of another process's connection, so only a probe shows
that a master is alive.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from trayagent.ssh.os import macos_lsof, macos_ps
from trayagent.ssh.os.macos_lsof import File
from trayagent.ssh.os.types import Flow, Process, TcpFacts

QUERY_INTERVAL_S = 0.200
"""How often to search for an attempt's connection: each search runs two programs and takes some 50 ms."""

_FIRST_OWN_FD = 3  # ssh closes all inherited descriptors when it starts (closefrom)
_PIPE_TO_PROXY_FDS = range(3, 9)
_DEEPEST = 8


def flow_of(pid: int) -> Flow | None:
    """Return the connection that carries a process, or None if none is established."""
    return _snapshot_around(pid).flow(pid)


def tcp_facts(flow: Flow) -> TcpFacts | None:  # noqa: ARG001  # same signature as on Linux
    """Return None: a process gets TCP_CONNECTION_INFO only for its own sockets (tcp(4))."""
    return None


def transport_of(pid: int) -> list[Process]:
    """Return all processes that exist only to carry a master's bytes; never another master."""
    return _snapshot_around(pid).transport(pid)


class ProcessSnapshot:
    """The processes and their descriptors at one moment; pure."""

    def __init__(self, processes: Mapping[int, Process], files: Sequence[File]) -> None:
        self._processes = processes
        self._files: dict[int, list[File]] = {}
        for file in files:
            self._files.setdefault(file.pid, []).append(file)

    def flow(self, pid: int, depth: int = 0) -> Flow | None:
        """Return the connection that carries `pid`, or None. `depth` counts the masters and proxies passed so far."""
        if self.to_proxy(pid) is None:
            return _flow(self._lowest_tcp(pid))
        if depth > _DEEPEST:
            return None
        found = (self._through(proxy, depth) for proxy in self.proxies(pid))
        return next((flow for flow in found if flow is not None), None)

    def transport(self, pid: int) -> list[Process]:
        """Return the proxies of a process, the processes that the proxies started, and the proxies of those."""
        found: dict[int, Process] = {}
        for proxy in self.proxies(pid):
            for one in (proxy, *self._below(proxy.pid), *self.transport(proxy.pid)):
                found.setdefault(one.pid, one)
        return list(found.values())

    def to_proxy(self, pid: int) -> tuple[File, File] | None:
        """Return the pipe ends with which a process writes to and reads from its proxy; None if it has no proxy.

        ssh connects to the server first, so pipes above a TCP socket belong to sessions.
        """
        tcp = self._lowest_tcp(pid)
        own = {
            f.fd: f for f in self._files.get(pid, ()) if f.kind == "PIPE" and (tcp is None or f.fd < tcp.fd)
        }
        pairs = ((own[fd], own[fd + 1]) for fd in _PIPE_TO_PROXY_FDS if fd in own and fd + 1 in own)
        return next(pairs, None)

    def proxies(self, pid: int) -> list[Process]:
        """Return the proxies of a process.

        The standard input of a proxy is the other end of the first pipe, and it holds the other end of the second pipe.
        """
        ends = self.to_proxy(pid)
        if ends is None:
            return []
        out, back = ends
        return [
            self._processes[other]
            for other, files in self._files.items()
            if other in self._processes
            and any(f.fd == 0 and f.kind == "PIPE" and out.device in {f.peer, f.device} for f in files)
            and any(f.kind == "PIPE" and back.device in {f.peer, f.device} for f in files)
            and other != pid
        ]

    def _through(self, proxy: Process, depth: int) -> Flow | None:
        found: dict[int, Flow] = {}
        for one in (proxy, *self._below(proxy.pid)):
            for flow in self._flows_of(one, depth):
                for each in (replace(flow, others=()), *flow.others):
                    found.setdefault(each.inode, each)
        if not found:
            return None
        first, *others = found.values()
        return replace(first, others=tuple(others))

    def _flows_of(self, one: Process, depth: int) -> list[Flow]:
        inner = self.flow(one.pid, depth + 1)
        own = [inner] if inner is not None else []
        if one.comm != "ssh" and inner is not None and inner.via == "direct":
            own = [flow for file in self._tcp(one.pid) if (flow := _flow(file)) is not None]
        carrier = self._carrier(one.pid) if not own else None
        if carrier is not None:
            carried = self.flow(carrier, depth + 1)
            return [] if carried is None else [replace(carried, via="carried", carrier_pid=carrier)]
        return [replace(flow, via="carried" if flow.via == "carried" else "child") for flow in own]

    def _carrier(self, pid: int) -> int | None:
        """Return the ssh process at the other end of one of the Unix sockets of `pid`."""
        peers = {file.peer for file in self._files.get(pid, ()) if file.kind == "unix"} - {""}
        return next(
            (
                other
                for other, files in self._files.items()
                if other != pid and other in self._processes and self._processes[other].comm == "ssh"
                and any(file.kind == "unix" and file.device in peers for file in files)
            ),
            None,
        )  # fmt: skip

    def _lowest_tcp(self, pid: int) -> File | None:
        return next(self._tcp(pid), None)

    def _tcp(self, pid: int) -> Iterator[File]:
        own = (file for file in self._files.get(pid, ()) if file.fd >= _FIRST_OWN_FD)
        return (file for file in own if file.ends is not None)

    def _below(self, pid: int) -> list[Process]:
        return macos_ps.below(pid, self._processes.values())


def _snapshot_around(pid: int) -> ProcessSnapshot:
    """Return a snapshot of a process and those that may carry it: its descendants and the user's ssh processes.

    A master in the background is no longer the parent of its ProxyCommand. For such a master, the snapshot has all
    processes of the user.
    """
    uid = os.getuid()
    processes = {p: process for p, process in macos_ps.table().items() if process.uid == uid}
    family = {pid, *(p.pid for p in macos_ps.below(pid, processes.values()))}
    files = macos_lsof.of_processes(sorted(family | {p.pid for p in processes.values() if p.comm == "ssh"}))
    seen = ProcessSnapshot(processes, files)
    if seen.to_proxy(pid) is None or seen.proxies(pid):
        return seen
    return ProcessSnapshot(processes, macos_lsof.of_user(uid))


def _flow(file: File | None) -> Flow | None:
    if file is None or file.ends is None:
        return None
    local, peer = file.ends
    return Flow(*local, *peer, number_of(file), file.pid, "direct")


def number_of(file: File) -> int:
    """Return the kernel's address of a socket; it is unique while the socket exists. Return 0 if lsof printed none."""
    try:
        return int(file.device, 16)
    except ValueError:
        return 0
