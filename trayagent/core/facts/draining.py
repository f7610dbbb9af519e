"""The facts of a draining master: an earlier master that runs until its last session ends; frozen data."""

from __future__ import annotations

from msgspec import Struct


class Beside(Struct, frozen=True):
    """An ssh that has its own connection beside the host's master: its terminal, and the program that started it.

    `signal` ends it so that the program starts it again ("HUP"). `named`: its command line names the host. `names`
    are the names of its server on its command line (the destination, the HostName option), and those of its jump hosts.
    """

    terminal: str = ""
    program: str = ""
    signal: str = "HUP"
    named: bool = False
    names: frozenset[str] = frozenset()


class Draining(Struct, frozen=True):
    """An earlier master of the host `owner`. It accepts no more clients, and ends with its last session or connection.

    `made_at` is when its connection was made. `sessions` and `connections` are what it carried at `counted_at`.
    `idle_at` is since when it has carried nothing, or None while it carries something. `stays`: it does not end
    automatically, because its socket was removed before the agent could make it stop listening. `beside` is set for
    an ssh beside the master. That ssh never was a master, but the agent judges it in the same way. `roamed`: it was the
    inner master of a host that roams, until another master took the user's control path.
    """

    owner: str
    made_at: float
    sessions: int = 0
    connections: int = 0
    counted_at: float = 0.0
    idle_at: float | None = None
    stays: bool = False
    beside: Beside | None = None
    roamed: bool = False
