"""How a living master was made, as its processes show it; frozen data."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class MasterOrigin(Struct, frozen=True):
    """The names and the route with which a master was made.

    `name` is the host in the master's own command line. It is None if a title has replaced the command line.
    `client_names` are the hosts in the command lines of the ssh processes that use the master now. `route` is "direct"
    if the master itself connected, "proxy" if it has a ProxyJump or ProxyCommand, and None if nothing shows which.
    `jump` is the host in the command line of a jump host's `ssh -W`, None if there is none.
    """

    name: str | None = None
    client_names: tuple[str, ...] = ()
    route: Literal["direct", "proxy"] | None = None
    jump: str | None = None
