"""A forward as the mux protocol sends it: its numbers and strings."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from trayagent.ssh.mux import wire
from trayagent.ssh.mux.errors import RemoteProtocolError

MuxForwardKind = Literal["local", "remote", "dynamic"]
UNIX_PATH = 0xFFFFFFFE
"""The port (PORT_STREAMLOCAL, -2) that marks the host before it as the path of a Unix socket."""

_FTYPE: dict[MuxForwardKind, int] = {"local": 1, "remote": 2, "dynamic": 3}
_KIND = {number: kind for kind, number in _FTYPE.items()}


class MuxForward(Struct, frozen=True):
    """The fields of a forward in OPEN_FWD and CLOSE_FWD. Both messages must have equal fields.

    `listen_host` "" is the master's default, "*" all interfaces. IPv6 addresses have no brackets. A Unix path is in a
    host field, with the port UNIX_PATH. A SOCKS forward (each dynamic forward, and a remote forward without a target)
    has `connect_host` "socks" and port 0; otherwise OpenSSH 9.2 answers "No forward host name.".
    """

    kind: MuxForwardKind
    listen_host: str
    listen_port: int
    connect_host: str = "socks"
    connect_port: int = 0

    def encode(self) -> bytes:
        """Return the fields as bytes."""
        return b"".join(
            (
                wire.u32(_FTYPE[self.kind]),
                wire.string(self.listen_host),
                wire.u32(self.listen_port),
                wire.string(self.connect_host),
                wire.u32(self.connect_port),
            )
        )

    @classmethod
    def take(cls, reader: wire.Reader) -> MuxForward:
        """Return the forward that the fields describe. Raise RemoteProtocolError for an unknown kind."""
        number = reader.u32()
        if number not in _KIND:
            raise RemoteProtocolError(f"unknown kind of forward {number}")
        return cls(_KIND[number], reader.text(), reader.u32(), reader.text(), reader.u32())
