"""Port and socket forwards, with the meaning of ssh's -L, -R and -D; pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ForwardKind = Literal["local", "remote", "dynamic"]


@dataclass(frozen=True, slots=True)
class End:
    """One end of a forward: a TCP host and port, or the path of a Unix socket.

    `host` "" is ssh's default (loopback, or all interfaces with GatewayPorts), "*" is all interfaces. An IPv6
    address has no brackets. If `path` is set, host and port are ignored.
    """

    host: str = ""
    port: int = 0
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Forward:
    """One forward; `target` None means SOCKS (dynamic, or remote dynamic).

    `spec` is the user's spelling. Forwards with the same ends are equal, whatever their spelling.
    """

    kind: ForwardKind
    listen: End
    target: End | None
    spec: str = field(compare=False)
