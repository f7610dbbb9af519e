"""The types for processes, their connections and their sockets; the same for Linux and macOS."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

KillResult = Literal["sent", "gone", "other"]
Via = Literal["direct", "child", "carried"]
End = tuple[str, int]


class Process(Struct, frozen=True):
    """One process.

    `start_ticks` distinguishes two processes with the same pid within one boot. On Linux it counts clock ticks
    since boot, on macOS seconds since 1970. `argv` is the present command line: a master that moved itself to
    the background shows `ssh: PATH [mux]` as its only word.
    """

    pid: int
    start_ticks: int
    comm: str
    uid: int
    ppid: int
    argv: tuple[str, ...]


class Flow(Struct, frozen=True):
    """The established TCP connection that carries a process; IPv4 addresses are never in their IPv6-mapped form.

    `via` shows which process holds the socket. "direct": the process itself. "child": its transport (ProxyJump,
    ProxyCommand). "carried": another master, whose pid is `carrier_pid` (the nearest one, if there are several).
    `inode` identifies the socket. `scope` is the interface index of a link-local connection. `others` are the
    transport's other connections: a ProxyCommand may have one to its API in addition to its tunnel, and nothing shows
    which of them carries the process. ssh itself has another one if a name service or a remote forward needs it.
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
    others: tuple[Flow, ...] = ()


class TcpFacts(Struct, frozen=True):
    """The state of one connection; all times are in seconds, `last_…` are ages.

    `unacked` counts segments in flight. `retransmit_in_s` is the longest time until the kernel's next
    retransmission, None while no data waits for an acknowledgement. `bytes_acked` counts the SYN as one byte.
    `bytes_sent` includes retransmitted bytes (`bytes_retrans`). `queued` is the number of unacknowledged bytes, sent or
    not.
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


class ControlSocket(Struct, frozen=True):
    """A control socket and the master that listens on it.

    `bind_path` is the name that the master bound, which the kernel reports. `bind_stem` is the ControlPath with which
    the master was started. `path` is where the file is now, or `bind_stem` if the file is no longer in that directory.
    `present`: the file is still in that directory. `inode` is the inode of the socket, not of the file.
    """

    bind_path: str
    bind_stem: str
    path: str
    inode: int
    pid: int
    present: bool = True


class Carried(Struct, frozen=True):
    """What a master still carries for other programs.

    `sessions` counts the clients of its control socket. `connections` counts the connections through its forwards: TCP
    and Unix sockets, including X11 and agent forwarding.
    """

    sessions: int = 0
    connections: int = 0


class Listener(Struct, frozen=True):
    """One TCP listener: its owner's uid, and the pid of its process. The pid is None if this user may not read it."""

    local_ip: str
    local_port: int
    uid: int
    pid: int | None


class Listeners(Struct, frozen=True):
    """The TCP listeners of one process and of all other processes, as (address, port)."""

    own: frozenset[End] = frozenset()
    others: frozenset[End] = frozenset()
