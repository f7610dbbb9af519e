"""Detects hosts that lost their master while no agent ran. A running agent would have recovered them."""

from __future__ import annotations

import socket
from pathlib import Path

from trayagent.agent.masters.watch_for_end import ended_politely
from trayagent.agent.state.record_types import KeptUp
from trayagent.agent.state.records import Records
from trayagent.config.file_paths import FilePaths
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State
from trayagent.ssh.master import master_logs as master_log
from trayagent.ssh.os.process import alive


class LostMasters:
    """Records which masters are up, and detects which of an earlier agent's masters died unintentionally."""

    def __init__(self, file_paths: FilePaths, records: Records) -> None:
        self._file_paths = file_paths
        self._records = records

    def follow(self, state: State) -> None:
        """Record which hosts are up, or are waiting for their recovery."""
        if state.started:  # until then, `meanwhile` needs the earlier agent's records
            named = (host for host in state.hosts.values() if not host.unnamed)
            self._records.set_up({host.name: self._up(host) for host in named})

    def meanwhile(self) -> frozenset[str]:
        """Return the hosts that were up in this boot and whose master died while no agent ran.

        A master that ended in good order does not count, because the user ended it.
        """
        return frozenset(name for name in self._records.hosts() if self._is_lost(name))

    def _up(self, host: Host) -> KeptUp | None:
        master = host.master
        if host.user.held or host.ending:
            return None
        if master is None:
            return KeptUp(self._records.boot) if host.lost else None
        boot, path = self._records.boot, master.control_path
        return KeptUp(boot, master.pid, master.start_ticks, path, master.started_by_agent, master.local)

    def _is_lost(self, name: str) -> bool:
        up = self._records.up(name)
        if up is None:
            return False
        if up.pid is None:
            return True
        if alive(up.pid, up.start) or ended_politely(
            master_log.read(self._file_paths.master_log(up.pid)), name
        ):
            return False
        # A user's own ssh leaves no log. But it removes its socket if it ends in good order.
        return up.started_by_agent or Path(up.path).is_socket() or not _is_ours(up.local)


def _is_ours(address: str | None) -> bool:
    """Report whether this machine has this IP address now. Return True for None."""
    if address is None:
        return True
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((address, 0))
        except OSError:
            return False
    return True
