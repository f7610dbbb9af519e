"""Effects on the server: identifies our connections' sessions there, and ends dead ones that hold a forward."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from trayagent.agent.forwards.agent_socket_link import AgentSocketLinks
from trayagent.agent.forwards.remote_session_records import RemoteRecords
from trayagent.agent.parts import Parts
from trayagent.core.facts.events import RemoteCleanedUp
from trayagent.core.facts.evidence import NO_EVIDENCE, Evidence
from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.remote_sessions import Connection, KeptSession, Reaped, RemoteSession, Why
from trayagent.core.policy.may_end_remote_session import may_end
from trayagent.errors import TrayagentError
from trayagent.netlink.channel import NETLINK_SOCK_DIAG, Channel
from trayagent.netlink.errors import NetlinkError
from trayagent.netlink.inet_diag import ESTABLISHED, tcp_sockets
from trayagent.ssh.mux.errors import Refused
from trayagent.ssh.os.process import alive
from trayagent.ssh.remote import own_sessions as far
from trayagent.ssh.remote.own_sessions import Found

log = logging.getLogger(__name__)

# Allows for a login shell with a slow rc file. The forwards wait less than that, see CLEAR_PATIENCE_S.
REAP_S = 10.0
_RUNS_MAX = 6  # for each master; after so many failures another run would not help
_HERE = {"ended", "gone", "other"}  # after these results, the session no longer exists on the server
_MAX_PATH = 107


@dataclass(slots=True)
class _Work:
    """The clean-up through one master: how often it ran, its last result, and the last reported evidence."""

    runs: int = 0
    last: Reaped | None = None
    reported: Evidence = NO_EVIDENCE


class RemoteCleanup:
    """Keeps the record of remote sessions, and ends our dead ones through a new master."""

    def __init__(self, parts: Parts, agent_sockets: AgentSocketLinks) -> None:
        self._configuration = parts.configuration
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._records = parts.records
        self._far = RemoteRecords(parts.records)
        self._agent_sockets = agent_sockets
        self._known: dict[int, RemoteSession] = {}  # the key is the master's pid, as in the fields below
        self._noted: set[int] = set()
        self._unmarked: set[str] = set()  # names of hosts
        self._work: dict[int, _Work] = {}

    # The record.

    def identified(self, name: str, master: Master, session: RemoteSession | None) -> None:
        """Record how the server identifies a master's session. None: the server does not distinguish sessions."""
        if session is None:
            if name not in self._unmarked:
                log.info(
                    "%s: the server does not distinguish its sessions; waiting for dead ones to end", name
                )
            self._unmarked.add(name)
            return
        self._unmarked.discard(name)
        self._known[master.pid] = session
        if master.pid in self._noted:
            self._far.keep(name, master, session)

    def note(self, host: Host, master: Master) -> None:
        """Start to identify the remote session of a master, and record it. Returns immediately."""
        self._noted.add(master.pid)
        known = self._known.get(master.pid)
        if known is not None:
            self._far.keep(host.name, master, known)
        elif self._has_shell(host.name) and not self._has_sentinel(host):
            task = f"far session {master.pid}"
            if not self._tasks.running(task):
                self._tasks.start(task, self._identify(host.name, master))

    def made(self, name: str, opened: Collection[Forward]) -> None:
        """Record the Unix sockets that remote forwards created on the server."""
        paths = [f.listen.path for f in opened if f.kind == "remote" and f.listen.path is not None]
        if paths:
            self._far.add_sockets(name, paths)

    def forget(self, living: Collection[int]) -> None:
        """Drop from memory what is known about masters that are gone. The records on disk stay."""
        self._known = {pid: one for pid, one in self._known.items() if pid in living}
        self._work = {pid: one for pid, one in self._work.items() if pid in living}
        self._noted &= set(living)

    async def _identify(self, name: str, master: Master) -> None:
        try:
            session = await far.own(master.control_path)
        except TrayagentError as error:
            log.info("%s: the server process of pid %d is unknown: %s", name, master.pid, error.title)
            return
        self.identified(name, master, session)

    # The cleanup.

    async def clear(
        self, host: Host, master: Master, wanted: Sequence[Forward], *, refused: bool
    ) -> Reaped | None:
        """Free what our dead connections hold on the server. Return the result, None if there was nothing to do.

        `refused`: the server refused one of the forwards. Otherwise only what certainly blocks them is removed.
        """
        work = self._work.setdefault(master.pid, _Work())
        if not self._has_shell(host.name) or not host.wish.reap:
            why: Why = "no-shell" if host.wish.reap else "off"
            return self._report(host.name, work, Reaped(unavailable=why)) if refused else None
        ends, frees = self._due(host, wanted, refused=refused)
        if not (ends or frees) or work.runs >= _RUNS_MAX:
            blind = refused and host.name in self._unmarked
            return self._report(host.name, work, Reaped(unavailable="no-mark")) if blind else None
        work.runs += 1
        # Update the link first: then programs that use the dead connection's ssh-agent socket can continue.
        await self._agent_sockets.made(host.name)
        try:
            found = await far.reap(
                master.control_path, [kept.session for kept in ends], frees, timeout_s=REAP_S
            )
        except Refused:
            return self._report(host.name, work, Reaped(unavailable="max-sessions"))
        except TrayagentError as error:
            log.info("%s: our dead connections could not be ended: %s", host.name, error.title)
            return self._report(host.name, work, Reaped(unavailable="no-answer"))
        if found is None:
            self._records.no_sentinel(host.name)
            return self._report(host.name, work, Reaped(unavailable="no-shell"))
        return self._report(host.name, work, self._forget_ended(host.name, ends, found))

    def outcome(self, master: Master) -> Reaped | None:
        """Return the result of the last try through a master, None if there was nothing to do."""
        work = self._work.get(master.pid)
        return work.last if work is not None else None

    def _due(
        self, host: Host, wanted: Sequence[Forward], *, refused: bool
    ) -> tuple[list[KeptSession], list[str]]:
        """Return the sessions that may be ended, and the paths of our old sockets where a forward must listen again."""
        kept = self._far.sessions(host.name)
        established = _established() if kept else frozenset()
        ends = [
            one
            for one in kept
            if established is not None
            and may_end(
                one,
                self._far.machine,
                runs=alive(one.master_pid, one.start_ticks),
                established=established,
                refused=refused,
            )
        ]
        paths = {f.listen.path for f in wanted if f.kind == "remote"}
        return ends, [path for path in self._far.sockets(host.name) if path in paths and _plain(path)]

    def _forget_ended(self, name: str, ends: Sequence[KeptSession], found: Found) -> Reaped:
        """Forget sessions that no longer exist. A session of another server or boot stays on record."""
        reported = {kept.session: found.sessions.get(kept.session, "") for kept in ends}
        here = found.own.server if found.own is not None else ""
        gone = {s for s, word in reported.items() if word == "ended" or (word in _HERE and s.server == here)}
        self._far.forget(name, gone)
        ended = sum(word == "ended" for word in reported.values())
        return Reaped(
            ended,
            len(gone) - ended,
            len(reported) - len(gone),
            sum(word == "removed" for word in found.sockets.values()),
            tuple(path for path, word in found.sockets.items() if word == "busy"),
        )

    def _report(self, name: str, work: _Work, outcome: Reaped) -> Reaped:
        work.last = outcome
        evidence = outcome.evidence()
        if evidence != work.reported:  # log the result once, not at every try
            work.reported = evidence
            self._shell.post(RemoteCleanedUp(time.monotonic(), name, outcome))
        return outcome

    def _has_sentinel(self, host: Host) -> bool:
        return self._configuration.wants_sentinel(host) and not self._records.few_sessions(host.name)

    def _has_shell(self, name: str) -> bool:
        return self._configuration.has_shell(name) and self._records.has_sentinel(name)


def _established() -> frozenset[Connection] | None:
    """Return this machine's established TCP connections, None if they cannot be listed."""
    try:
        with Channel(NETLINK_SOCK_DIAG) as channel:
            found = tcp_sockets(channel, ESTABLISHED)
    except (OSError, NetlinkError):
        return None
    return frozenset((s.local_ip, s.local_port, s.peer_ip, s.peer_port) for s in found)


def _plain(path: str) -> bool:
    """Report whether a socket's path can be used in a request to the server: absolute, printable and short."""
    return path.startswith("/") and path.isprintable() and len(path) <= _MAX_PATH
