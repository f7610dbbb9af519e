"""Port and socket forwards as described: what ssh's -L, -R and -D mean; pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ForwardKind = Literal["local", "remote", "dynamic"]


@dataclass(frozen=True, slots=True)
class End:
    """One end of a forward: a TCP host and port, or the path of a Unix socket.

    `host` "" is ssh's default (loopback, or all interfaces with GatewayPorts), "*" is all
    interfaces; no brackets around IPv6. With `path`, host and port mean nothing.
    """

    host: str = ""
    port: int = 0
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Forward:
    """One forward: `target` None means SOCKS (dynamic, or remote dynamic).

    `spec` is how the user wrote it; two forwards with the same ends are equal however written.
    """

    kind: ForwardKind
    listen: End
    target: End | None
    spec: str = field(compare=False)
