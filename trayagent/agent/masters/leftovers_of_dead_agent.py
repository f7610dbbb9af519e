"""Cleans up after an agent that died during an attempt. This runs before the first decision.

An agent records each attempt before its ssh starts, with the fresh path on which the ssh will listen. It removes the
record when the master is in place or gone. So an attempt that is still recorded belongs to an agent that died.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from trayagent.agent.masters.discovery import describe
from trayagent.agent.masters.unread_refusal import unread_refusal
from trayagent.agent.state.records import Begun, Records
from trayagent.config.file_paths import FilePaths
from trayagent.ssh.login.key_exchange_log import read_key_exchange
from trayagent.ssh.login.trial_login import mark_of
from trayagent.ssh.login.trial_login import processes_of as trials_of
from trayagent.ssh.master import master_logs as master_log
from trayagent.ssh.master.end_master import abandon, end
from trayagent.ssh.master.launch_and_wait import read_own_log
from trayagent.ssh.master.master_command_line import escaped
from trayagent.ssh.new_control_path import remove_fresh
from trayagent.ssh.os.control_sockets import ControlSocket, accepts, listening, owner_of
from trayagent.ssh.os.process import Process, read, ssh_processes
from trayagent.ssh.os.swap_files import exchange


class Leftovers:
    """Ends abandoned attempts. If the master of an attempt already listens, moves it to its control path."""

    def __init__(self, file_paths: FilePaths, records: Records) -> None:
        self._file_paths = file_paths
        self._records = records

    async def clear(self) -> None:
        """End the processes and remove the sockets of an earlier agent's attempts. The caller must hold the lock."""
        for process in trials_of(mark_of(self._file_paths.runtime_dir)):
            await abandon(process)
        begun = self._records.begun()
        if begun:
            sockets = listening(os.getuid())
            await asyncio.gather(*(self._clear_attempt(path, what, sockets) for path, what in begun.items()))

    async def _clear_attempt(self, path: str, begun: Begun, sockets: list[ControlSocket]) -> None:
        if _is_swapped(path, begun, sockets):
            with contextlib.suppress(OSError):  # one of the files disappeared meanwhile
                exchange(path, begun.target)
            sockets = listening(os.getuid())
        ready = next((s for s in sockets if s.path == path), None)
        placed = next((s for s in sockets if (s.bind_stem, s.path) == (path, begun.target)), None)
        if ready is not None:
            await self._finish_take_over(ready.pid, path, begun)
        elif placed is not None:
            # The agent died after the rename. The scan will end the master that had the path before.
            self._keep(placed.pid, begun)
        # A master that is in place is found here, too: its command line still has the fresh path. So spare listeners.
        listeners = {s.pid for s in sockets}
        for process in processes_of(path):
            if process.pid not in listeners:
                await abandon(process)
        if ready is None and placed is None:
            self._record_refusal(begun)
        if owner_of(path) is None:
            remove_fresh(path)
        self._records.end_attempt(path)

    async def _finish_take_over(self, pid: int, path: str, begun: Begun) -> None:
        """Finish an interrupted take-over if the control path is free.

        Otherwise end this master: the agent will judge the master that has the path.
        """
        master = describe(pid, path, started_by_agent=True)
        if master is None:
            return
        if owner_of(begun.target) is not None or accepts(begun.target):
            await end(master)
            self._records.drop_master(pid)
            return
        Path(path).rename(begun.target)
        self._keep(pid, begun)

    def _keep(self, pid: int, begun: Begun) -> None:
        """Record the master and its log, as for any master that is in place."""
        log = Path(begun.log)
        host_key = read_key_exchange(read_own_log(log), None, logged_in=True).host_key
        placed = describe(pid, begun.target, started_by_agent=True, proven=(host_key, None))
        if placed is not None:
            self._records.add_master(placed, begun.host, [])
        with contextlib.suppress(FileNotFoundError):
            master_log.rename(log, self._file_paths.master_log(pid))

    def _record_refusal(self, begun: Begun) -> None:
        """Record a login that was refused after its agent had died, or that ended before the agent knew its result.

        Without this record, an agent that dies at each start could lock an account.
        """
        log = Path(begun.log)
        unread = unread_refusal(log, begun.host) if not begun.trusted else None
        if unread is not None:
            with contextlib.suppress(OSError):
                self._records.refused_unseen(begun.host, unread[0], log.stat().st_mtime, unread[1])

    def remove_logs(self) -> None:
        """Remove the files of attempts and masters that are gone. Call this before any new attempt."""
        for kind in ("attempt-*.log", "attempt-*.err", "attempt-*.called", "connection-*", "trial-*"):
            for file in self._file_paths.runtime_dir.glob(kind):
                master_log.remove(file)
        for log in {file.with_suffix(".log") for file in self._file_paths.runtime_dir.glob("master-*.*")}:
            pid = log.stem.removeprefix("master-")
            if not pid.isdigit() or read(int(pid)) is None:  # `read` returns None for a zombie, too
                master_log.remove(log)


def _is_swapped(path: str, begun: Begun, sockets: list[ControlSocket]) -> bool:
    """Report whether an agent died between swapping two sockets and checking the one that it swapped out.

    Then the new master is in place, and a process still listens on the swapped-out socket.
    """
    placed = any((s.bind_stem, s.path) == (path, begun.target) for s in sockets)
    return placed and accepts(path)


def processes_of(path: str) -> list[Process]:
    """Return the ssh processes that were started to listen on this fresh path."""
    option = f"ControlPath={escaped(path)}"
    return [process for process in ssh_processes(os.getuid()) if option in process.argv]
