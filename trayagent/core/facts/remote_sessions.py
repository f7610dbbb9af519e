"""The agent's sessions on servers, and the result of ending the dead ones; pure.

When the network cuts a connection, the server keeps it until TCP or ClientAlive gives up, by default after hours.
Until then the ports and sockets of its remote forwards stay occupied. `core/policy/may_end_remote_session.py` decides
which sessions the agent may end.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from trayagent.core.facts.evidence import Evidence

Connection = tuple[str, int, str, int]
"""Local address and port, peer address and port."""

Why = Literal["off", "no-shell", "no-mark", "no-answer", "max-sessions"]
"""Why no attempt was possible.

off: the configuration forbids it. no-shell: the server gives no shell. no-mark: the agent cannot distinguish the
server's sessions. no-answer: the server did not answer. max-sessions: the server allows no more sessions on the
connection.
"""


class RemoteSession(Struct, frozen=True):
    """The server-side process of one connection.

    `mark` distinguishes it from every other process that ever had this pid. It consists of the server's boot, the pid
    namespace and the process's start time, separated by slashes.
    """

    pid: int
    mark: str

    @property
    def server(self) -> str:
        """An identifier of the server's current boot and pid namespace."""
        return self.mark.rpartition("/")[0]


class Machine(Struct, frozen=True):
    """The machine on which the agent runs, and its current boot; fields are "" if unknown."""

    name: str
    boot: str


class KeptSession(Struct, frozen=True):
    """A stored session, with the master on this machine to which the session belongs.

    `ours`: the agent started that master. The stored records use the same name.
    """

    session: RemoteSession
    master_pid: int
    start_ticks: int
    ours: bool
    machine: Machine
    connection: Connection | None = None


class Reaped(Struct, frozen=True):
    """The result of a cleanup: how many sessions were ended, were already gone, or belong to another server or boot.

    `sockets` is the number of left-over Unix sockets that were removed. `busy` are sockets that have a living listener
    or another owner.
    """

    ended: int = 0
    gone: int = 0
    elsewhere: int = 0
    sockets: int = 0
    busy: tuple[str, ...] = ()
    unavailable: Why | None = None

    @property
    def helped(self) -> bool:
        """Whether the server may now grant what it refused."""
        return bool(self.ended or self.sockets)

    def evidence(self) -> Evidence:
        """Return the result as evidence of the decision."""
        if self.unavailable is not None:
            return Evidence.of(reason=self.unavailable)
        found = Evidence.of(ended=self.ended, gone=self.gone, elsewhere=self.elsewhere, sockets=self.sockets)
        return found.plus(busy=",".join(self.busy)) if self.busy else found


_IN_TIME = (
    "it is in use there, or not allowed. If our own lost connection still holds it, the server frees it later "
    "(ClientAliveInterval)"
)
_WORDS: dict[Why | None, str] = {
    None: "another process there uses it, or the server does not allow it",
    "off": "if our own lost connection still holds it, `reap = true` frees it",
    "no-shell": _IN_TIME,
    "no-mark": _IN_TIME,
    "max-sessions": "the agent needs a session to free it, and the server allows no more sessions (MaxSessions)",
    "no-answer": "our own lost connection may still hold it; the agent tries again to free it",
}


def still_refused(where: str, outcome: Reaped | None) -> str:
    """Return the user's message about a remote forward that the server still refuses."""
    if outcome is None:
        return f"the server refused {where}: it is in use there, or not allowed"
    return f"the server refused {where}: {_WORDS[outcome.unavailable]}"
