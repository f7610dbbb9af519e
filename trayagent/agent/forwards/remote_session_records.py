"""The records of our connections' remote sessions for each host. They outlive the agent."""

from __future__ import annotations

from collections.abc import Collection

from trayagent.agent.state.machine_ids import this_machine
from trayagent.agent.state.records import Records
from trayagent.core.facts.masters import Master
from trayagent.core.facts.remote_sessions import KeptSession, RemoteSession

_SESSIONS_KEPT = 8  # for each host; a reinstalled server never reports that an old session is gone
_SOCKETS_KEPT = 32


class RemoteRecords:
    """Sessions and Unix sockets that a server may still hold for us."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.machine = this_machine()

    def sessions(self, name: str) -> list[KeptSession]:
        """Return the sessions of a host, oldest first."""
        return self._records.far(name).sessions

    def keep(self, name: str, master: Master, session: RemoteSession) -> None:
        """Record the remote session of a living master. Replace an older record of the same session."""
        others = [kept for kept in self.sessions(name) if kept.session != session]
        new = KeptSession(
            session,
            master.pid,
            master.start_ticks,
            master.started_by_agent,
            self.machine,
            connection_of(master),
        )
        self._set(name, sessions=[*others, new][-_SESSIONS_KEPT:])

    def forget(self, name: str, sessions: Collection[RemoteSession]) -> None:
        """Forget sessions that are gone."""
        self._set(name, sessions=[kept for kept in self.sessions(name) if kept.session not in sessions])

    def sockets(self, name: str) -> list[str]:
        """Return the Unix sockets on a host that our remote forwards created."""
        return self._records.far(name).sockets

    def add_sockets(self, name: str, paths: Collection[str]) -> None:
        """Record sockets that our forwards created just now."""
        old = [path for path in self.sockets(name) if path not in paths]
        self._set(name, sockets=[*old, *paths][-_SOCKETS_KEPT:])

    def _set(
        self, name: str, *, sessions: list[KeptSession] | None = None, sockets: list[str] | None = None
    ) -> None:
        kept = self._records.far(name)
        if sessions is not None:
            kept.sessions = sessions
        if sockets is not None:
            kept.sockets = sockets
        self._records.set_far(name, kept)


def connection_of(master: Master) -> tuple[str, int, str, int] | None:
    """Return the TCP connection that carries a master, None if there is none."""
    if master.local is None or master.peer is None:
        return None
    return (master.local, master.local_port, master.peer, master.peer_port)
