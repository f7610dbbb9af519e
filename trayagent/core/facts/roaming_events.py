"""The events of hosts that roam, named in the past tense; see docs/roaming.md."""

from __future__ import annotations

from trayagent.core.facts.events import Event
from trayagent.core.facts.masters import Master


class RoamingBegan(Event, frozen=True):
    """The inner master listens on the user's control path, and the plain master became the outer one.

    `outer` is that master with its new control path. `port` is the far relay's TCP port: 0 if no port of the
    range was free, None if none was requested.
    """

    name: str
    inner: Master
    outer: Master
    port: int | None = None


class RoamingLoginBegun(Event, frozen=True):
    """The user just logged in at a terminal, and can answer the inner login's prompts there."""

    name: str


class RoamingNotPossible(Event, frozen=True):
    """Roaming could not be started, so the host keeps its plain master. `said` explains the reason to the user.

    `lasting`: the next start would fail in the same way until something changes. `code` is "refused" if the server
    refused the inner login.
    """

    name: str
    pid: int
    code: str
    said: str
    lasting: bool = False


class RoamingFound(Event, frozen=True):
    """An earlier agent left a living inner master. Its outer masters listen on `outer_path`.

    `address` is the server's address at which they last reached the far relay, None if it is unknown. `port` is the far
    relay's TCP port, as in RoamingBegan. `lost_path`: another master has the user's control path, so the inner one
    drains. `outer` is then the living outer master, None if there is none. `by_port`: the link is on the port.
    """

    name: str
    inner: Master
    outer_path: str
    address: str | None = None
    port: int | None = None
    lost_path: bool = False
    outer: Master | None = None
    by_port: bool = False


class RoamingAttached(Event, frozen=True):
    """The outer master `pid` carries the link of the inner master, on which `sessions` sessions are open.

    `by_port`: the link is on the far relay's TCP port and stays there. The outer master is ready to carry it.
    """

    name: str
    pid: int
    sessions: int = 0
    by_port: bool = False


class RoamingAttachedByPort(Event, frozen=True):
    """The far relay's TCP port carries the link of the inner master, whatever becomes of the outer master."""

    name: str
    sessions: int = 0


class RoamingPortFailed(Event, frozen=True):
    """The link could not move to the far relay's TCP port. `code` is the reason. The next outer master carries it."""

    name: str
    code: str


class RoamingAttachFailed(Event, frozen=True):
    """The outer master `pid` could not carry the link. The inner master waits."""

    name: str
    pid: int
    code: str
    said: str = ""


class RoamingAway(Event, frozen=True):
    """The link of the inner master was lost. Its sessions wait."""

    name: str
    why: str = ""


class RoamingStalled(Event, frozen=True):
    """Data of a session got no acknowledgement through the outer master for some seconds."""

    name: str


class RoamingEnded(Event, frozen=True):
    """The inner master `pid` and its sessions ended. `by_request`: its end was requested, or it was idle."""

    name: str
    pid: int
    why: str = ""
    by_request: bool = False


class MasterMoved(Event, frozen=True):
    """The agent moved a living master to this control path, or left it there because the other path is taken."""

    name: str
    pid: int
    control_path: str
