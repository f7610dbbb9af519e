"""The events that the user causes: requests, logins at a terminal, changed keys. `at` is in monotonic seconds."""

from __future__ import annotations

from trayagent.core.facts.events import Event
from trayagent.core.facts.hosts import Hop
from trayagent.core.facts.resolved import Resolved


class UserReconnect(Event, frozen=True):
    """The user requested a new connection. `at_once`: the old one ends even if it answers."""

    names: tuple[str, ...]
    at_once: bool = False


class LoginBegun(Event, frozen=True):
    """The user begins to log in at a terminal. The answer of `ssh -G` is included in case the host is new."""

    name: str
    resolved: Resolved
    hop: Hop | None = None
    later_hops: tuple[Hop, ...] = ()


class LoginGivenUp(Event, frozen=True):
    """The user left the terminal, and the login has no result."""

    name: str
    attempt: int


class UserDisconnect(Event, frozen=True):
    """The user wants these hosts down until a `reconnect`."""

    names: tuple[str, ...]


class UserStopMasters(Event, frozen=True):
    """The user wants to end the masters that trayagent started, because the agent is about to end."""


class UserPause(Event, frozen=True):
    """The user wants trayagent to leave these hosts alone; no names: all. `for_s` None: until resumed."""

    names: tuple[str, ...] = ()
    for_s: float | None = None


class UserResume(Event, frozen=True):
    """The user ends the pause of these hosts; no names: every pause."""

    names: tuple[str, ...] = ()


class UserViewedStatus(Event, frozen=True):
    """The user views the status (command, menu, attach), so masters with an old proof of life are probed again."""

    names: tuple[str, ...] = ()


class CredentialsChanged(Event, frozen=True):
    """A key, certificate, agent or known_hosts file changed; no names: it may concern any host."""

    names: tuple[str, ...] = ()


class KeysChanged(Event, frozen=True):
    """The keys or certificates of some hosts changed in content, not merely in modification time."""

    names: tuple[str, ...]
