"""Moves an outer master back to the user's control path when its host no longer roams."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from msgspec.structs import replace

from trayagent.agent.masters.control_path_locks import PathLocks
from trayagent.agent.masters.discovery import Discovery, describe
from trayagent.agent.parts import Parts
from trayagent.agent.state.record_types import KeptRoaming
from trayagent.agent.state.records import Records
from trayagent.core.facts import actions as a
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.roaming_events import (
    MasterMoved,
)
from trayagent.ssh.new_control_path import remove_fresh
from trayagent.ssh.os.control_sockets import accepts, owner_of
from trayagent.ssh.os.swap_files import rename_new


class ControlPathRestorer:
    """Moves former outer masters to the user's control path. The results are posted as events."""

    def __init__(self, parts: Parts, discovery: Discovery, locks: PathLocks) -> None:
        self._shell = parts.shell
        self._records = parts.records
        self._discovery = discovery
        self._locks = locks

    def put_back(self, kept: KeptRoaming) -> None:
        """Move an outer master without an inner one to the user's control path, if that path is free."""
        pid = owner_of(kept.outer_path)
        if pid is not None and owner_of(kept.path) != pid and _move(kept.outer_path, kept.path):
            master = describe(pid, kept.path, started_by_agent=True)
            if master is not None and self._records.is_started_by_agent(pid, master.start_ticks):
                record_master(self._records, kept.host, master)
        elif pid is None or owner_of(kept.path) == pid:
            remove_fresh(kept.outer_path)

    async def move_back(self, action: a.RestorePath, host: Host) -> None:
        """Move a living master to the user's control path, if that is free."""
        async with self._locks.of(host.name):
            master = action.master
            path, there = _user_path(self._discovery, host), master.control_path
            if (
                await self._discovery.holder(path) is None
                and owner_of(there) == master.pid
                and _move(there, path)
            ):
                there = path
            record_master(self._records, host.name, replace(master, control_path=there))
            self._shell.post(MasterMoved(time.monotonic(), host.name, master.pid, there))


def record_master(records: Records, name: str, master: Master) -> None:
    """Record a master with its present control path. Its recorded forwards are kept."""
    forwards = records.opened(master.pid, master.start_ticks)
    records.add_master(master, name, forwards)


def _user_path(discovery: Discovery, host: Host) -> str:
    """Return the user's control path of a host, even if the host still has a hidden one."""
    return discovery.control_path(replace(host, roaming=None, outer_path=None))


def _move(source: str, target: str) -> bool:
    """Rename a socket to a path that is free or has a dead socket. Return whether that worked."""
    with contextlib.suppress(OSError):
        try:
            renamed = rename_new(source, target)
        except FileExistsError:
            if accepts(target):
                return False
            Path(target).unlink()
            renamed = rename_new(source, target)
        if not renamed and not os.path.lexists(target):
            Path(source).rename(target)
        return not os.path.lexists(source)
    return False
