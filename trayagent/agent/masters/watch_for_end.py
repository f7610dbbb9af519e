"""Detects the end of every master immediately."""

from __future__ import annotations

import contextlib
import re
import time
from functools import partial
from pathlib import Path

from trayagent.agent.masters.connect import MasterConnector
from trayagent.agent.masters.discovery import Discovery
from trayagent.agent.parts import Parts
from trayagent.core.facts.events import MasterEnded, MasterFound
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.masters import Master
from trayagent.core.facts.state import State
from trayagent.netlink.errors import NetlinkError
from trayagent.ssh.login.classify_failure import classify
from trayagent.ssh.master import master_logs as master_log
from trayagent.ssh.master.master_logs import SshOutput
from trayagent.ssh.os.control_sockets import is_dead
from trayagent.ssh.os.process import PidWatch
from trayagent.ssh.os.tcp_connection import closed_from_here

_EXIT_STATUS_OF_EXIT = 255  # after `ssh -O exit`, but also after a death; the log distinguishes them
# A background master is not the agent's child, so its exit status is unknown. SIGTERM leaves the same log otherwise.
_EXIT_REQUEST = re.compile(r"^(?:debug\d: )?mux\.c:mux_master_process_terminate\(\):", re.MULTILINE)
# After `ssh -O stop`, a master exits with its last session, with the same status as after `ssh -O exit`.
_STOP_REQUEST = re.compile(r"^(?:debug\d: )?mux\.c:mux_master_process_stop_listening\(\):", re.MULTILINE)
_POLITE_END = "Transferred: sent"  # ssh logs this text with VERBOSE at every orderly end, never after a kill


class MasterWatch:
    """Keeps a pidfd for each master in the state."""

    def __init__(self, parts: Parts, discovery: Discovery, connector: MasterConnector) -> None:
        self._file_paths = parts.file_paths
        self._shell = parts.shell
        self._records = parts.records
        self._discovery = discovery
        self._connector = connector
        self._watches: dict[int, tuple[tuple[str, ...], Master, PidWatch]] = {}

    def follow(self, state: State) -> None:
        """Watch exactly the masters of this state."""
        living: dict[int, tuple[tuple[str, ...], Master]] = {}
        for host in state.hosts.values():
            for master in host.masters:  # two names of one account may share a master
                names, _ = living.get(master.pid, ((), master))
                living[master.pid] = (*names, host.name), master
        for pid in [*self._watches]:
            if pid not in living:
                self._watches.pop(pid)[2].close()
                self._forget(pid)
        for pid, (names, master) in living.items():
            known = self._watches.get(pid)
            watch = known[2] if known is not None else PidWatch(pid, partial(self._ended, pid))
            # Update the entry: a master that begins to drain gets another host name and loses its path.
            self._watches[pid] = (names, master, watch)

    def close(self) -> None:
        """Stop watching. The masters keep running."""
        for _, _, watch in self._watches.values():
            watch.close()
        self._watches.clear()

    def _forget(self, pid: int) -> None:
        self._connector.reap(pid)
        master_log.remove(self._file_paths.master_log(pid))

    def _ended(self, pid: int) -> None:
        names, master, watch = self._watches.pop(pid)
        watch.close()
        self._records.drop_master(pid)
        self._records.drop_draining(pid)
        if any(self._is_being_replaced(name, pid) for name in names):
            self._forget(
                pid
            )  # the take-over reports the new master; if it fails, `follow` watches this pid again
            return
        heir = self._discovery.heir(names[0], master)
        if heir is not None:
            # Either a master with ControlPersist forked to go to the background, and has another pid now. Or a
            # take-over has just put a new master there and will report it.
            self._forget(pid)
            for name in names:
                self._shell.post(MasterFound(time.monotonic(), name, heir, fresh=True))
            return
        if master.started_by_agent:
            _remove_dead(master.control_path)
            self._records.end_attempt(master.control_path)  # of a spare master
        status = self._connector.reap(pid)
        log = self._file_paths.master_log(pid)
        words = master_log.read(log)
        self._forget(pid)
        closed = not words.own and _closed_in_order(master)
        requested = _exit_requested(words, status)
        for name in names:
            failure = _death(words, name, status)
            in_order = closed or ended_politely(words, name, status)
            self._shell.post(
                MasterEnded(time.monotonic(), name, pid, failure, in_order and requested, in_order)
            )

    def _is_being_replaced(self, name: str, pid: int) -> bool:
        host = self._shell.state.hosts.get(name)
        attempt = host.attempt if host is not None else None
        return attempt is not None and attempt.taking_over and attempt.replaces == pid


def _closed_in_order(master: Master) -> bool:
    """Report whether a master without a log ended while its connection worked."""
    if master.local is None or master.peer is None:
        return False
    try:
        return closed_from_here(
            (master.local, master.local_port), (master.peer, master.peer_port), or_open=not master.direct
        )
    except NetlinkError:
        return False


def _remove_dead(path: str) -> None:
    """Remove a dead socket. ssh removes only the path on which it began to listen, not the control path."""
    with contextlib.suppress(OSError):
        if is_dead(path):
            Path(path).unlink()


def _exit_requested(words: SshOutput, status: int | None) -> bool:
    """Report whether the log or the exit status of a master shows `ssh -O exit`."""
    if _EXIT_REQUEST.search(words.own) is not None:
        return True
    return status == _EXIT_STATUS_OF_EXIT and _STOP_REQUEST.search(words.own) is None


def ended_politely(words: SshOutput, host: str, status: int | None = None) -> bool:
    """Report whether a master's log shows an orderly end, as after a request to exit."""
    return _POLITE_END in words.own and _death(words, host, status) is None


def _death(words: SshOutput, host: str, status: int | None) -> Failure | None:
    """Return why a master died, None if its output does not show that it died.

    Read stderr (`others`), too: there, not in the log, ssh reports that the server closed the connection
    (clientloop.c, client_loop).
    """
    if not words.own:
        return None
    found = classify(words.own, host=host, exit_status=status, others=words.others)
    return found if found.kind == "died" else None
