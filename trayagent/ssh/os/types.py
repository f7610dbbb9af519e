"""What a system tells about processes, their connections and their sockets; the same words on each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KillResult = Literal["sent", "gone", "other"]
Via = Literal["direct", "child", "carried"]
End = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Process:
    """One process. `start_ticks` tells two of the same pid apart, within one boot; `argv` is what it shows now.

    Linux counts the ticks from boot, macOS seconds since 1970. A master that went into the background by
    itself shows `ssh: PATH [mux]` as its only word.
    """

    pid: int
    start_ticks: int
    comm: str
    uid: int
    ppid: int
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """The established TCP connection that carries a process; IPv4 addresses are never shown as mapped ones.

    `via`: "direct" it holds the socket itself, "child" its transport does (ProxyJump, ProxyCommand),
    "carried" another master does, whose pid is `carrier_pid` (the nearest, if there are several).
    `inode` tells the socket from others. `scope` is the interface index of a link-local connection.
    """

    local_ip: str
    local_port: int
    peer_ip: str
    peer_port: int
    inode: int
    pid_of_holder: int
    via: Via
    carrier_pid: int | None = None
    scope: int = 0


@dataclass(frozen=True, slots=True)
class TcpFacts:
    """How one connection fares; all times in seconds, `last_…` are ages.

    `unacked` counts segments in flight; `retransmit_in_s` is the time until the kernel sends again by
    itself, None while nothing waits for an acknowledgement. `bytes_acked` counts the SYN as one,
    `bytes_sent` what was sent again (`bytes_retrans`), too. `queued` is what waits for an acknowledgement,
    in bytes, sent or not.
    """

    rtt_s: float
    rttvar_s: float
    min_rtt_s: float | None
    rto_s: float
    unacked: int
    retransmits: int
    backoff: int
    last_ack_recv_s: float
    last_data_recv_s: float
    bytes_acked: int
    bytes_received: int
    bytes_sent: int
    bytes_retrans: int
    queued: int
    retransmit_in_s: float | None


@dataclass(frozen=True, slots=True)
class ControlSocket:
    """A control socket and the master that listens on it.

    `bind_path` is the kernel's name for it, `bind_stem` the ControlPath that the master was started with,
    `path` where the file is now (the stem, if it is in neither that place nor that folder any more),
    `present` whether it is there. `inode` is the socket's, not the file's.
    """

    bind_path: str
    bind_stem: str
    path: str
    inode: int
    pid: int
    present: bool = True


@dataclass(frozen=True, slots=True)
class Listener:
    """One TCP listener, its owner, and the process that holds it where that may be seen."""

    local_ip: str
    local_port: int
    uid: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class Listeners:
    """The TCP listeners of one process, and of all others, as (address, port)."""

    own: frozenset[End] = frozenset()
    others: frozenset[End] = frozenset()
