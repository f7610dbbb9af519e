"""Learns which forwards the user gave to ssh by hand, so that they come back after a replacement.

A master that the agent started logs each request of its clients. A master that the user started has no such log. So the
agent reads the command lines of that master and of its clients: when it finds the master, at each change of network,
and when the user views the status. If a client has ended by then, its forward shows only as a listening port.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from trayagent.agent.forwards.wanted_forwards import Forwarding
from trayagent.agent.parts import Parts
from trayagent.agent.state.forward_records import read_forward
from trayagent.core.facts.events import HandForwardsFound
from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.hosts import ForwardState, Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.state import State
from trayagent.core.policy.shared_connection import owner_of_connection, users_of_connection
from trayagent.core.policy.wanted_connection import configured_forwards, wanted_forwards
from trayagent.errors import TrayagentError
from trayagent.ssh.command_line import forwards_of
from trayagent.ssh.forward_log import LONGEST_MESSAGE, Request, requests
from trayagent.ssh.forward_result import listen_address
from trayagent.ssh.os.carried import clients_of_master
from trayagent.ssh.os.listeners import Listeners, tcp_listeners
from trayagent.ssh.os.process import read

_FOUND = {"master-adopted", "connected", "roaming"}
_OPENS_IN_S = 0.3  # on a busy machine, ssh opens the port this long after it logged the request


class _Seen(Struct, frozen=True):
    """The forwards and listening ports of a master that the user started, as its processes show them."""

    forwards: tuple[Forward, ...]
    listening: Listeners


class HandForwards:
    """Finds forwards that the user gave by hand. The results are posted as events."""

    def __init__(self, parts: Parts, forwarding: Forwarding) -> None:
        self._file_paths = parts.file_paths
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._records = parts.records
        self._forwarding = forwarding
        self._read_to: dict[int, int] = {}
        self._waiting: set[int] = set()  # masters whose log changed while the agent itself requested forwards

    # Masters of the agent.

    def log_changed(self, pid: int, path: Path) -> None:
        """Read what clients of a master requested."""
        del path
        self._waiting.add(pid)
        self.follow(self._shell.state)

    def follow(self, state: State) -> None:
        """Read the changed logs of masters for which the agent is not opening or closing forwards."""
        if not self._waiting:
            return
        masters = {
            m.pid: (h, m)
            for h in state.hosts.values()
            if (m := h.forwarding_master) is not None and owner_of_connection(h, state.hosts) is None
        }
        self._read_to = {pid: at for pid, at in self._read_to.items() if pid in masters}
        for pid in [*self._waiting]:
            host, master = masters.get(pid, (None, None))
            if host is not None and master is not None and self._forwarding.busy(pid):
                continue
            self._waiting.discard(pid)
            if host is not None and master is not None and master.started_by_agent and host.draining is None:
                self._read_log(host, master)

    def _read_log(self, host: Host, master: Master) -> None:
        first = master.pid not in self._read_to
        last: dict[Forward, bool] = {}
        for request in self._new_requests(master.pid):
            last.pop(request.forward, None)
            last[request.forward] = request.what == "open"
        if not last:
            return
        known = {*configured_forwards(host), *self._of_others(host, master)}
        if first:  # those on record are not new: the agent opened them, or an earlier agent found them
            lines = self._records.opened(master.pid, master.start_ticks)
            known |= {forward for line in lines if (forward := read_forward(line)) is not None}
        own = str(self._file_paths.runtime_dir)  # the agent's own forwards to far relays listen there
        found = tuple(
            forward
            for forward, is_open in last.items()
            if is_open and forward not in known and not (forward.listen.path or "").startswith(f"{own}/")
        )
        closed = tuple(forward for forward, is_open in last.items() if not is_open)
        try:
            listening = tcp_listeners(master.pid)
        except TrayagentError:
            return
        self._post(host, master, _listening(found, listening), closed, listening, unknown=None)
        if late := tuple(forward for forward in found if forward not in _listening(found, listening)):
            self._tasks.start("by hand, again", self._check_again(host.name, master, late))

    async def _check_again(self, name: str, master: Master, forwards: tuple[Forward, ...]) -> None:
        """Wait a moment, then post those of the forwards that are open. ssh logs a request before it opens the port."""
        await asyncio.sleep(_OPENS_IN_S)
        host = self._shell.state.hosts.get(name)
        now = host.forwarding_master if host is not None else None
        if host is None or now is None or (now.pid, now.start_ticks) != (master.pid, master.start_ticks):
            return
        try:
            listening = tcp_listeners(master.pid)
        except TrayagentError:
            return
        self._post(host, master, _listening(forwards, listening), (), listening, unknown=None)

    def _new_requests(self, pid: int) -> list[Request]:
        """Return the requests since the last call. A log that was shortened is read from its beginning."""
        path, begin = self._file_paths.master_log(pid), self._read_to.get(pid, 0)
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                begin = begin if begin <= size else 0
                start = max(0, begin - 2 * LONGEST_MESSAGE)
                file.seek(start)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]  # ssh may be writing the last line
        self._read_to[pid] = start + len(whole)
        return [*requests(whole.decode("latin-1"), begin - start)]

    # Masters of the user.

    def happened(self, event: dict[str, object]) -> None:
        """Read the log of a new master. Scan the user's masters at each change of network, before one is replaced."""
        name = event["host"]
        if event["event"] in _FOUND and isinstance(name, str):
            host = self._shell.state.hosts.get(name)
            master = host.forwarding_master if host is not None else None
            if master is not None and master.started_by_agent:
                self._waiting.add(master.pid)  # `follow` reads the log after this decision
                return
        if event["event"] in {"network-changed", "master-adopted"} and not self._tasks.running("by hand"):
            self._tasks.start("by hand", self.scan())

    async def scan(self) -> None:
        """Read the command lines of the user's masters and of their clients now."""
        masters = {
            h.name: m
            for h in self._shell.state.hosts.values()
            if h.draining is None
            and (m := h.forwarding_master) is not None
            and not m.started_by_agent
            and owner_of_connection(h, self._shell.state.hosts) is None
        }
        if not masters:
            return
        uid = os.getuid()
        seen = await asyncio.to_thread(lambda: {n: _seen(m, uid) for n, m in masters.items()})
        for name, one in seen.items():
            host = self._shell.state.hosts.get(name)
            master = host.forwarding_master if host is not None else None
            if one is not None and host is not None and master == masters[name]:
                self._compare(host, master, one)

    def _compare(self, host: Host, master: Master, seen: _Seen) -> None:
        if self._forwarding.busy(master.pid):
            return
        found = _listening(seen.forwards, seen.listening)
        given = host.forwards.by_hand
        closed = tuple(f for f in given if f not in _listening(given, seen.listening))
        wanted = (*wanted_forwards(host), *self._of_others(host, master))
        known = {f.listen.port for f in (*wanted, *found) if f.kind != "remote"}
        unknown = {port: ip for ip, port in sorted(seen.listening.own, reverse=True) if port not in known}
        shown = tuple(
            f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for port, ip in sorted(unknown.items())
        )
        self._post(host, master, found, closed, seen.listening, unknown=shown)

    def _of_others(self, host: Host, master: Master) -> tuple[Forward, ...]:
        """Return the forwards of the other hosts that use this master. They were not given by hand."""
        users = users_of_connection(master.pid, self._shell.state.hosts)
        return tuple(f for user in users if user.name != host.name for f in wanted_forwards(user))

    def _post(
        self,
        host: Host,
        master: Master,
        found: Iterable[Forward],
        closed: tuple[Forward, ...],
        listening: Listeners,
        *,
        unknown: tuple[str, ...] | None,
    ) -> None:
        theirs = {*configured_forwards(host), *self._of_others(host, master)}
        new = tuple(forward for forward in found if forward not in theirs)
        if new:
            self._forwarding.note_open(host, master, new)
        if new or closed or (unknown is not None and unknown != host.forwards.unknown):
            states = tuple(ForwardState(f, "open", listen=listen_address(f, listening)) for f in new)
            self._shell.post(
                HandForwardsFound(time.monotonic(), host.name, master.pid, states, closed, unknown)
            )


def _seen(master: Master, uid: int) -> _Seen | None:
    """Return what a master's processes show, None if the master is gone."""
    process = read(master.pid)
    if process is None or process.start_ticks != master.start_ticks:
        return None
    try:
        words = [process.argv, *(client.argv for client in clients_of_master(master.pid, uid))]
        return _Seen(
            tuple(dict.fromkeys(f for argv in words for f in forwards_of(argv))), tcp_listeners(master.pid)
        )
    except TrayagentError:
        return None


def _listening(forwards: Iterable[Forward], listening: Listeners) -> tuple[Forward, ...]:
    """Return the forwards whose local end is open. Remote forwards have no local end, so all are returned."""
    ports = {port for _, port in listening.own}
    return tuple(
        f
        for f in forwards
        if f.kind == "remote"
        or (os.path.lexists(f.listen.path) if f.listen.path is not None else f.listen.port in ports)
    )
