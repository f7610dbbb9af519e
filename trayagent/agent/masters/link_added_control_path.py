"""Makes a ControlPath that was added or changed in ssh_config lead to the living master at once.

A socket cannot be moved to another file system, and a master of the user removes only the path on which it began to
listen. So the new path becomes a symbolic link to the socket, until the next master of the host listens there itself.
Each link points into the agent's own directory, which distinguishes it from the user's links. If the socket is
elsewhere, the link points to a second link in that directory, and the second one to the socket. The link replaces a
dead socket, for example of a program that was killed, but never one on which a process listens. If the host roams, its
link leads to the inner master.
"""

from __future__ import annotations

import contextlib
import logging
import os
from functools import partial
from pathlib import Path

from msgspec import Struct

from trayagent.agent.masters.own_control_path_links import is_own_link, linked_socket, second_link
from trayagent.agent.parts import Parts
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.state import State
from trayagent.errors import TrayagentError
from trayagent.ssh.new_control_path import fresh_for, remove_fresh
from trayagent.ssh.os.control_sockets import accepts, is_dead, owner_of
from trayagent.ssh.os.process import PidWatch, read
from trayagent.ssh.os.swap_files import exchange

log = logging.getLogger(__name__)

_Destination = tuple[str | None, str, int, str, str | None]


class _Seen(Struct, frozen=True):
    """A host's control path and its living master, as of the last update.

    `made_for`: the server and account to which the master was connected, None if the master is older than this agent.
    `leads_there`: the master is connected to the server and account that ssh_config names now.
    """

    path: str
    socket: str | None = None
    pid: int | None = None
    made_for: _Destination | None = None
    leads_there: bool = False


class PathLinks:
    """Keeps one link for each host whose master listens elsewhere than on its ControlPath."""

    def __init__(self, parts: Parts) -> None:
        self._runtime = parts.file_paths.runtime_dir
        self._sockets = self._runtime / "cm"
        self._seen: dict[str, _Seen] = {}
        self._blocked: dict[str, PidWatch | None] = {}  # the hosts whose path another process has
        self._born = _start_ticks()

    def follow(self, state: State) -> None:
        """Make and remove links where a control path or a master changed."""
        for host in state.hosts.values():
            resolved = host.resolved
            if resolved is None or resolved.control_path is None or host.draining is not None:
                continue
            before = self._seen.get(host.name)
            master = None if _moves_there(host) else host.forwarding_master
            now = self._now(master, resolved.control_path, _destination(resolved), before)
            if before != now or (host.name in self._blocked and not os.path.lexists(now.path)):
                self._seen[host.name] = now
                self._update(host, now, before)
        self._seen = {name: seen for name, seen in self._seen.items() if name in state.hosts}
        for name in self._blocked.keys() - state.hosts.keys():
            self._unblock(name)

    def close(self) -> None:
        """Stop waiting for the end of the programs that listen on a control path. The links stay."""
        for name in [*self._blocked]:
            self._unblock(name)

    def _now(
        self, master: Master | None, path: str, destination: _Destination, before: _Seen | None
    ) -> _Seen:
        if master is None:
            return _Seen(path)
        if before is not None and before.pid == master.pid:
            made_for = before.made_for
        elif master.start_ticks >= self._born or master.control_path == path:
            made_for = destination
        else:
            made_for = None
        # With %C, a new HostName or User changes the path, too. Then the old master must not be linked: it leads to the
        # old server or account.
        in_runtime = Path(master.control_path).parent == self._sockets
        leads_there = made_for == destination or (made_for is None and in_runtime)
        return _Seen(path, master.control_path, master.pid, made_for, leads_there)

    def _update(self, host: Host, now: _Seen, before: _Seen | None) -> None:
        self._unblock(host.name)
        if before is not None and before.path != now.path and is_own_link(before.path, self._sockets):
            self._remove(host.name, before.path)
        if now.socket == now.path:
            return
        linked = linked_socket(now.path, self._sockets)
        if linked is not None and _obsolete(now, linked):
            self._remove(host.name, now.path)
        if now.socket is not None and now.leads_there and linked_socket(now.path, self._sockets) is None:
            self._make(host.name, now.path, now.socket)

    def _make(self, name: str, path: str, socket: str) -> None:
        with contextlib.suppress(OSError, TrayagentError):
            if os.path.lexists(path) and not is_dead(path):
                self._block(name, path)
                return
            if Path(socket).parent != self._sockets:
                self._sockets.mkdir(mode=0o700, exist_ok=True)
                between = second_link(self._runtime, name)
                between.unlink(missing_ok=True)
                between.symlink_to(socket)
                socket = str(between)
            _put_link(path, socket)
            log.info("%s: %s leads to the living master now", name, path)

    def _block(self, name: str, path: str) -> None:
        """Make the link later: once the process that listens on the path has ended, or the file is gone."""
        pid = owner_of(path)
        log.warning("%s: %s is taken (pid %s), so it does not lead to the living master", name, path, pid)
        self._blocked[name] = PidWatch(pid, partial(self._retry, name)) if pid is not None else None

    def _unblock(self, name: str) -> None:
        watch = self._blocked.pop(name, None)
        if watch is not None:
            watch.close()

    def _retry(self, name: str) -> None:
        self._unblock(name)
        seen = self._seen.get(name)
        if seen is not None and seen.socket is not None and seen.leads_there:
            self._make(name, seen.path, seen.socket)

    def _remove(self, name: str, path: str) -> None:
        with contextlib.suppress(OSError):
            Path(path).unlink()
            second_link(self._runtime, name).unlink(missing_ok=True)


def _moves_there(host: Host) -> bool:
    """Report whether the agent is about to move a former outer master to the host's control path."""
    return host.roaming is None and host.hidden_path is not None and not host.roaming_start.taken


def _put_link(path: str, socket: str) -> None:
    """Make a link at `path`, in the place of a dead socket there if any. Raises OSError."""
    if not os.path.lexists(path):
        Path(path).symlink_to(socket)
        return
    fresh = fresh_for(path)
    try:
        Path(fresh).symlink_to(socket)
        if not exchange(fresh, path):
            Path(fresh).replace(path)
        elif not is_dead(fresh):  # a program began to listen there at this moment
            exchange(fresh, path)
            raise FileExistsError(path)
    finally:
        remove_fresh(fresh)


def _obsolete(seen: _Seen, linked: str) -> bool:
    """Report whether a link to the socket `linked` must be removed.

    While the agent starts, it may not know the master yet. So without a master, a link to a living socket stays.
    """
    if seen.socket is None:
        return not accepts(linked)
    return linked != seen.socket or (seen.made_for is not None and not seen.leads_there)


def _destination(resolved: Resolved) -> _Destination:
    return (
        resolved.host_key_alias,
        resolved.hostname,
        resolved.port,
        resolved.user,
        resolved.proxy_jump or resolved.proxy_command,
    )


def _start_ticks() -> int:
    process = read(os.getpid())
    return process.start_ticks if process is not None else 0
