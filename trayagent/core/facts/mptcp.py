"""What the agent knows about Multipath TCP (RFC 8684) on the way to a host's server; frozen data."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from trayagent.core.facts.network import Network
from trayagent.core.facts.time_constants import NEVER

Outcome = Literal["answered", "fell-back", "dropped"]
"""How a Multipath TCP connection went.

"answered": the server spoke it. "fell-back": the connection is plain TCP, because the server does not speak it or a
device on the path removed the option. "dropped": its SYN got no answer or a refusal, and plain TCP worked.
"""


class Mptcp(Struct, frozen=True):
    """What is known about one host's server.

    `seen_at` is when the server last answered. `plain_on` are networks on which connections are plain TCP, each with
    the time until which that holds. `works_on` are identified networks on which such a connection lived, newest first.
    `tunnel_at` is when a tunnel for everything was last up on this laptop.
    """

    seen_at: float = NEVER
    plain_on: tuple[tuple[float, Network], ...] = ()
    works_on: tuple[Network, ...] = ()
    tunnel_at: float = NEVER


class MptcpTry(Struct, frozen=True):
    """How to make a connection by Multipath TCP: plain TCP follows after `plain_after_s` seconds without an answer.

    A connection from one of the addresses `plain_from` is plain TCP at once, because they belong to tunnels.
    """

    plain_after_s: float
    plain_from: frozenset[str] = frozenset()
