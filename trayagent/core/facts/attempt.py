"""The facts of an attempt, of the pauses after it, and of a key trial; frozen data."""

from __future__ import annotations

from math import inf
from typing import Literal

from msgspec import Struct

from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Network, Origin
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.time_constants import NEVER

Purpose = Literal["connect", "control", "user", "check", "machine", "standby"]
"""What an attempt is for. "check": only the server's banner. "machine": reach the machine of the host's far relay.

"standby": make a spare master. Such a login is no `Attempt` of its host, but counts as a login in progress.
"""
AT_ONCE = -inf  # a login is due now, because no login has failed yet
RouteOut = tuple[str, str | None]
"""An interface, and the address from which the kernel sends."""


class Attempt(Struct, frozen=True):
    """A new connection that is being made. It also serves as the control while the old connection is in doubt.

    `bare`: TCP and banner only, no login. `refused`: the right server answered and refused the login. `unwanted`:
    the old connection proved alive, so the agent ends the attempt as soon as the server's limits allow it.
    `at_terminal`: the user makes the attempt, with an ssh that is not our child process. `routes`: the routes that
    were available when the attempt last opened a connection. `redials` counts the connections that it opened after
    the first. `trusted`: the same login had just succeeded when it began. `carried`: it runs through the jump host's
    living master, so it needs no login at the jump host.
    `peer` is the address that its TCP connection reached, and `addresses` are those to which the name led. Both are
    empty while unknown. `standby`: it made no new connection, because the host's spare master is ready.
    """

    id: int
    purpose: Purpose
    started_at: float
    bare: bool = False
    network: Network | None = None
    source: str | None = None
    routes: frozenset[RouteOut] = frozenset()
    redials: int = 0
    established_at: float | None = None
    positive_at: float | None = None
    peer: str | None = None
    addresses: frozenset[str] = frozenset()
    ready: Master | None = None
    refused: Problem | None = None
    unwanted: bool = False
    taking_over: bool = False
    at_terminal: bool = False
    carried: bool = False
    trusted: bool = False
    standby: bool = False
    replaces: int | None = None  # the pid of the old master that was judged
    grace_until: float | None = None
    graces: int = 0  # how many retransmissions of the old connection the graces covered

    @property
    def is_banner_check(self) -> bool:
        """Whether the attempt only checks the server's banner. Then the attempt is neither a login nor a control."""
        return self.purpose == "check"

    @property
    def at_prompt(self) -> bool:
        """Whether the attempt is the user's login at a terminal. Only the user may end such an attempt."""
        return self.at_terminal and self.positive_at is None


class Retry(Struct, frozen=True):
    """Back-off of one host: when the next automatic attempt is due (AT_ONCE: now; None: no attempt), and its history.

    `proven`: the last failure came from the server itself, not from another machine on the path. `seen`: a server saw
    the failed attempt. `by_jump`: a jump host refused that attempt. `rearmed`: when and where a network change brought
    a retry forward.
    """

    at: float | None = AT_ONCE
    kind: FailureKind | None = None
    count: int = 0
    failed_at: float = NEVER
    first_failed_at: float | None = None  # when the first of the `count` attempts failed
    network: Network | None = None
    source: str | None = None
    seen: bool = True
    by_jump: bool = False
    proven: bool = True
    checked: bool = False  # a banner check has allowed a login on this path
    allowed: bool = False  # the login that the banner check allowed has not been made yet
    rearmed: tuple[tuple[float, Network | None], ...] = ()

    @property
    def stopped(self) -> bool:
        """Whether no attempt is due until something changes."""
        return self.at is None

    def due(self, now: float) -> bool:
        """Report whether the next attempt may begin."""
        return self.at is not None and self.at <= now

    def waits(self, now: float) -> bool:
        """Report whether the next attempt is due at a later time."""
        return self.at is not None and self.at > now


class CutShort(Struct, frozen=True):
    """Connections in a row that ended right after their logins: how many, when the last one ended, and from where."""

    count: int
    at: float
    origin: Origin


class Trial(Struct, frozen=True):
    """A key trial: a login beside a living master that checks whether the server accepts changed keys.

    `wanted_at` is when the keys changed, or None if no trial is due. `running` is the attempt number of the running
    trial. `begun` are the times when the last few trials began.
    """

    wanted_at: float | None = None
    running: int | None = None
    begun: tuple[float, ...] = ()
