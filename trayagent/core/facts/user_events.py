"""The events that the user causes: requests, logins at a terminal, changed keys. `at` is in monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass

from trayagent.core.facts.events import Event
from trayagent.core.facts.hosts import Hop
from trayagent.core.facts.resolved import Resolved


@dataclass(frozen=True, slots=True)
class UserReconnect(Event):
    """The user requested a new connection. `at_once`: the old one ends even if it answers."""

    names: tuple[str, ...]
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class LoginBegun(Event):
    """The user begins to log in at a terminal. The answer of `ssh -G` is included in case the host is new."""

    name: str
    resolved: Resolved
    hop: Hop | None = None
    later_hops: tuple[Hop, ...] = ()


@dataclass(frozen=True, slots=True)
class LoginGivenUp(Event):
    """The user left the terminal, and the login has no result."""

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class UserDisconnect(Event):
    """The user wants these hosts down until a `reconnect`."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserStopMasters(Event):
    """The user wants to end the masters that trayagent started, because the agent is about to end."""


@dataclass(frozen=True, slots=True)
class UserPause(Event):
    """The user wants trayagent to leave these hosts alone; no names: all. `for_s` None: until resumed."""

    names: tuple[str, ...] = ()
    for_s: float | None = None


@dataclass(frozen=True, slots=True)
class UserResume(Event):
    """The user ends the pause of these hosts; no names: every pause."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserViewedStatus(Event):
    """The user views the status (command, menu, attach), so masters with an old proof of life are probed again."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CredentialsChanged(Event):
    """A key, certificate, agent or known_hosts file changed; no names: it may concern any host."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeysChanged(Event):
    """The keys or certificates of some hosts changed in content, not merely in modification time."""

    names: tuple[str, ...]
