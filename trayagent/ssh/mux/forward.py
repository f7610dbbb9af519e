"""A forward as the mux protocol writes it: numbers and strings exactly as they travel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trayagent.ssh.mux import wire
from trayagent.ssh.mux.errors import RemoteProtocolError

MuxForwardKind = Literal["local", "remote", "dynamic"]
UNIX_PATH = 0xFFFFFFFE
"""The port (PORT_STREAMLOCAL, -2) that says: the host before it is the path of a Unix socket."""

_FTYPE: dict[MuxForwardKind, int] = {"local": 1, "remote": 2, "dynamic": 3}
_KIND = {number: kind for kind, number in _FTYPE.items()}


@dataclass(frozen=True, slots=True)
class MuxForward:
    """A forward in the fields of OPEN_FWD and CLOSE_FWD; both must be equal field by field.

    `listen_host` "" is the master's default, "*" all interfaces; no brackets around IPv6. A Unix
    path stands in a host field with the port UNIX_PATH. SOCKS (each dynamic forward, and a remote
    one without a target) is `connect_host` "socks" with port 0: without it OpenSSH 9.2 answers
    "No forward host name.".
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
        """Read the fields; raises RemoteProtocolError for an unknown kind."""
        number = reader.u32()
        if number not in _KIND:
            raise RemoteProtocolError(f"unknown kind of forward {number}")
        return cls(_KIND[number], reader.text(), reader.u32(), reader.text(), reader.u32())
