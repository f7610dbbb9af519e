"""The far ends of our connections as they are remembered, per host; across restarts of the agent."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trayagent.agent.records import Records, boot_id
from trayagent.core.hosts import Master
from trayagent.core.reaping import FarSession, KeptSession, Machine

_SESSIONS_KEPT = 8  # of each host; a server that was reinstalled never answers for the rest
_SOCKETS_KEPT = 32
_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")


def this_machine(ids: Iterable[str] = _IDS) -> Machine:
    """Return what names this machine and boot. Source: machine-id(5)."""
    for path in ids:
        with contextlib.suppress(OSError):
            name = Path(path).read_text().strip()
            if name not in {"", "uninitialized"}:  # an image's, before its first boot
                return Machine(name, boot_id())
    return Machine("", boot_id())


class FarRecords:
    """Sessions and Unix sockets that a server may still hold for us."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.machine = this_machine()

    def sessions(self, name: str) -> list[KeptSession]:
        """Return the sessions of a host, oldest first."""
        return list(_read(self._rows(name, "sessions")))

    def keep(self, name: str, master: Master, session: FarSession) -> None:
        """Remember the far end of a living master; it replaces what was known of the same session."""
        others = [kept for kept in self.sessions(name) if kept.session != session]
        new = KeptSession(
            session, master.pid, master.start_ticks, master.ours, self.machine, connection_of(master)
        )
        self._set(name, sessions=[*others, new][-_SESSIONS_KEPT:])

    def forget(self, name: str, sessions: Collection[FarSession]) -> None:
        """Forget sessions that are gone."""
        self._set(name, sessions=[kept for kept in self.sessions(name) if kept.session not in sessions])

    def sockets(self, name: str) -> list[str]:
        """Return the Unix sockets on a host that remote forwards of ours made."""
        return [path for path in self._rows(name, "sockets") if isinstance(path, str)]

    def add_sockets(self, name: str, paths: Collection[str]) -> None:
        """Remember sockets that forwards of ours made just now."""
        old = [path for path in self.sockets(name) if path not in paths]
        self._set(name, sockets=[*old, *paths][-_SOCKETS_KEPT:])

    def _rows(self, name: str, kind: str) -> list[Any]:
        found = self._records.far(name).get(kind)
        return found if isinstance(found, list) else []

    def _set(
        self, name: str, *, sessions: list[KeptSession] | None = None, sockets: list[str] | None = None
    ) -> None:
        kept = self._records.far(name)
        if sessions is not None:
            kept["sessions"] = list(map(_written, sessions))
        if sockets is not None:
            kept["sockets"] = sockets
        self._records.set_far(name, kept)


def connection_of(master: Master) -> tuple[str, int, str, int] | None:
    """Return the TCP connection that carries a master, None where none was found."""
    if master.local is None or master.peer is None:
        return None
    return (master.local, master.local_port, master.peer, master.peer_port)


def _written(kept: KeptSession) -> dict[str, Any]:
    return {**asdict(kept), "connection": list(kept.connection) if kept.connection is not None else None}


def _read(rows: list[Any]) -> Iterator[KeptSession]:
    """Yield what can be read; a row of another shape is as good as none."""
    for row in rows:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            local, local_port, peer, peer_port = row["connection"] or (None, 0, None, 0)
            yield KeptSession(
                FarSession(int(row["session"]["pid"]), str(row["session"]["mark"])),
                int(row["master_pid"]),
                int(row["start_ticks"]),
                bool(row["ours"]),
                Machine(str(row["machine"]["name"]), str(row["machine"]["boot"])),
                None if local is None else (str(local), int(local_port), str(peer), int(peer_port)),
            )
