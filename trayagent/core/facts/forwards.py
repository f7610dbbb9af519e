"""Port and socket forwards, with the meaning of ssh's -L, -R and -D; pure data."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

ForwardKind = Literal["local", "remote", "dynamic"]


class End(Struct, frozen=True):
    """One end of a forward: a TCP host and port, or the path of a Unix socket.

    `host` "" is ssh's default (loopback, or all interfaces with GatewayPorts), "*" is all interfaces. An IPv6
    address has no brackets. If `path` is set, host and port are ignored.
    """

    host: str = ""
    port: int = 0
    path: str | None = None


class Forward(Struct, frozen=True):
    """One forward; `target` None means SOCKS (dynamic, or remote dynamic).

    `spec` is the user's spelling. Forwards with the same ends are equal, whatever their spelling.
    """

    kind: ForwardKind
    listen: End
    target: End | None
    spec: str  # not compared, because the same forward can be written in several ways

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Forward) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    @property
    def _compared(self) -> tuple[object, ...]:
        return self.kind, self.listen, self.target
