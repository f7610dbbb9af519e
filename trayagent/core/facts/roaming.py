"""The facts of a host that roams: its inner master, and the outer master that carries it; frozen data.

`Host.master` is the outer master, which the agent judges like any other master. docs/roaming.md explains both.
"""

from __future__ import annotations

from msgspec import Struct

from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Network, Origin
from trayagent.core.facts.time_constants import NEVER

NO_ACCESS = frozenset(
    {
        "no-python",
        "unsafe-folder",
        "far-relay-unseen",
        "far-relay-unreachable",
        "near-relay-silent",
        "no-shell",
    }
)
"""The codes of a failed attach after which both relays may still run, but one of them cannot be reached."""
NO_CHANNEL = frozenset({"no-channel", "closed", "no-marker", "silent", "no-answer"})
"""The codes of a failed attach for which the server ran no command on the outer master."""
OVERTAKEN = frozenset({"replaced", "older-attach"})
"""The codes of a failed attach that say nothing about its outer master, because another attach came first."""


class Roaming(Struct, frozen=True):
    """The inner master, which has the user's control path, and its link to the server.

    `carrier` is the pid of the outer master that carries the link, None while there is no link. `away_since` is when
    the link was lost. `attaching` is the pid of the outer master through which an attach is in progress. `moving_since`
    is when a route for the next outer master became available. `failed` counts the failed attaches. `retry_at` is
    when the next attach may begin (inf: only with the next outer master). `moves` counts the links after the
    first. `sessions` is the number of sessions at the last attach. `ending`: the user wants the connection to end.
    `renewed`: the user requested a new connection without the old sessions, so the outer master stays.
    `address` is the server's address at which an outer master last reached the far relay, None if it is unknown.
    `elsewhere` is the pid of the outer master that reached another machine behind the same name. `sought_from` are the
    networks from which the agent then connected to `address`, to reach the first machine again.
    `port` is the TCP port of the server on which the far relay listens: 0 if no port of the range was free, None if
    none was requested. `by_port_since` is when the link moved to that port, None if a channel of an outer master
    carries it, or if there is no link. `port_from` is the network from which the last attach by port left, None if it
    is unknown. `port_doubted`: something happened to that network since. `port_failed`: the last attach by port
    failed, and the agent reported that. `port_fails` counts such failures in a row, and links that were soon lost.
    `port_retry_at` is when the next attach by port from the same network may begin (inf: while one is in progress).
    `trouble` is the code of the last failed attach, None since an attach succeeded.
    `began_at` is when roaming began. `short_lives` counts the previous inner masters that ended soon after their start.
    """

    inner: Master
    carrier: int | None = None
    away_since: float | None = None
    attaching: int | None = None
    moving_since: float | None = None
    failed: int = 0
    retry_at: float = NEVER
    moves: int = 0
    sessions: int = 0
    ending: bool = False
    renewed: bool = False
    began_at: float = NEVER
    short_lives: int = 0
    address: str | None = None
    elsewhere: int | None = None
    sought_from: frozenset[Network | None] = frozenset()
    port: int | None = None
    by_port_since: float | None = None
    port_from: Origin | None = None
    port_doubted: bool = False
    port_failed: bool = False
    port_fails: int = 0
    port_retry_at: float = NEVER
    trouble: str | None = None


class RoamingStart(Struct, frozen=True):
    """What is known of the next start of roaming on a plain host.

    `through` is the pid of the master through which roaming is being started. `retry_at` is when the next start may
    begin. `reason` explains why the host does not roam, until the configuration changes or the user reconnects it.
    `restoring` is the pid of the master that the agent moves back to the user's control path. `taken`: that path was
    taken, so the master stays where it is. `refused_at` is when the server last refused the inner login. `failure` says
    why the last start failed, also if the next one may succeed.
    """

    through: int | None = None
    retry_at: float = NEVER
    failed: int = 0
    reason: str | None = None
    restoring: int | None = None
    taken: bool = False
    refused_at: float = NEVER
    failure: str | None = None
