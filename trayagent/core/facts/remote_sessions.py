"""Our own dead sessions on a server: which of them may be ended there, and what is said of it; pure.

A connection that the network took stays alive at the server until its TCP or ClientAlive gives up, hours
by default, and with it the ports and sockets of its remote forwards. Nobody ends it but its own user, and
only once its ssh master on this side is proven gone: then nothing can ever travel on it again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Connection = tuple[str, int, str, int]
"""Local address and port, peer address and port."""

Why = Literal["off", "no-shell", "no-mark", "no-answer"]
"""Why nothing could be tried: forbidden by the user, no shell on the far side, a server whose sessions cannot
be told apart, or it said nothing now."""


@dataclass(frozen=True, slots=True)
class RemoteSession:
    """The server-side process of one connection.

    `mark` tells it from every other process that ever had this pid: the server's boot, its namespace of
    pids and the process's start time there, with slashes in between.
    """

    pid: int
    mark: str

    @property
    def server(self) -> str:
        """The server, in this boot, as far as a process there can tell."""
        return self.mark.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that we run on, in this boot; "" where it cannot tell."""

    name: str
    boot: str


@dataclass(frozen=True, slots=True)
class KeptSession:
    """A session as it is remembered: with the master on this side that it belongs to."""

    session: RemoteSession
    master_pid: int
    start_ticks: int
    ours: bool
    machine: Machine
    connection: Connection | None = None


def may_end(
    kept: KeptSession, here: Machine, *, runs: bool, established: Collection[Connection], refused: bool
) -> bool:
    """Report whether a session is provably nobody's any more.

    `runs`: the very master lives. `established`: the TCP connections of this machine; one of these may have
    gone to another process by a fork (ControlPersist). `refused`: the server does hold something. Without
    that, a session of an earlier boot is left alone: a copy of this machine may be using it.
    """
    if runs or kept.machine.name != here.name or not kept.machine.boot:
        return False
    if kept.machine.boot != here.boot:
        return refused and bool(here.name) and bool(here.boot)
    if kept.connection is None:
        return kept.ours  # the user's own may have forked, and no connection of theirs would show it
    return kept.connection not in established


@dataclass(frozen=True, slots=True)
class Reaped:
    """What came of it: how many sessions were ended, were gone before, belong to another server or boot.

    `sockets` were left-over Unix sockets and are removed; `busy` have a living listener, or are not ours.
    """

    ended: int = 0
    gone: int = 0
    elsewhere: int = 0
    sockets: int = 0
    busy: tuple[str, ...] = ()
    unavailable: Why | None = None

    @property
    def helped(self) -> bool:
        """Whether what was refused may be given now."""
        return bool(self.ended or self.sockets)

    def evidence(self) -> str:
        """Return it as `why` shows it."""
        if self.unavailable is not None:
            return f"reason={self.unavailable}"
        words = f"ended={self.ended} gone={self.gone} elsewhere={self.elsewhere} sockets={self.sockets}"
        return f"{words} busy={','.join(self.busy)}" if self.busy else words


_IN_TIME = "if our own lost connection has it, it goes when the server notices (ClientAliveInterval)"
_WORDS: dict[Why | None, str] = {
    None: "another process there has it, or it is not allowed",
    "off": "if our own lost connection has it, `reap = true` ends that",
    "no-shell": _IN_TIME,
    "no-mark": _IN_TIME,
    "no-answer": "if our own lost connection has it, that could not be ended now; it is tried again",
}


def still_refused(where: str, outcome: Reaped | None) -> str:
    """Return what a person is told of a remote forward that the server refuses all the same."""
    if outcome is None:
        return f"the server does not give {where}: taken there, or not allowed"
    return f"the server does not give {where}: {_WORDS[outcome.unavailable]}"
