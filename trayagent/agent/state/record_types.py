"""The records that outlive an agent, as typed structs. The names of their fields are the keys in the JSON file.

Times are seconds of the wall clock. Each field that was added later has a default, so older files can be read.
Unknown fields are ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.hosts import LoginKind
from trayagent.core.facts.remote_sessions import KeptSession

VERSION = 1

Pid = Annotated[int, Meta(ge=1, lt=2**31)]
Token = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\.[0-9a-f]{32}$")]
"""The token of a connection that roams. The pattern matters because its ID becomes part of a command line."""
KeptNetwork = Annotated[list[str], Meta(min_length=1, max_length=3)]
"""A network: the egress interface, the gateway's hardware address, the network's name."""


class KeptMaster(Struct):
    """A master that an agent started."""

    path: str
    start: int
    boot: str
    host: str
    forwards: list[str] = field(default_factory=list)
    host_key: str | None = None
    target: str | None = None
    mptcp: bool = False
    spare: bool = False


class KeptAttempt(Struct):
    """An attempt in progress: its host, the control path that it is meant for, its log.

    `trusted`: the same login had just succeeded.
    """

    host: str
    target: str
    log: str
    boot: str
    trusted: bool = False


class KeptDraining(Struct):
    """A draining master. `path` was its control path. `second_name` leads to it until it stops listening."""

    host: str
    start: int
    boot: str
    made_at: float
    path: str
    second_name: str
    started_by_agent: bool = field(default=False, name="ours")
    host_key: str | None = None
    target: str | None = None


class KeptRefusal(Struct):
    """How a refused login ended. `due` is None if no retry is due. `agent` identifies the ssh-agent of that login.

    `by_jump`: a jump host refused it. `proven`: the refusing server had proved its host key. `network` and `source`:
    the network and the local address from which that login was made.
    """

    kind: FailureKind
    code: str
    title: str = ""
    hint: str = ""
    at: float | None = None
    due: float | None = None
    agent: str = ""
    by_jump: bool = False
    proven: bool = True
    network: KeptNetwork | None = None
    source: str | None = None


class KeptKilling(Struct):
    """Masters that an agent was about to end, with the boot in which it ran."""

    boot: str
    pids: list[Pid] = field(default_factory=list)


class KeptByHand(Struct):
    """Forwards that the user gave to ssh by hand, each as "kind spec", with the boot in which the user did so."""

    boot: str
    forwards: list[str] = field(default_factory=list)


class KeptMptcp(Struct):
    """What is known of Multipath TCP to a host's server: when it last answered, where it failed, where it worked.

    `tunnel_at` is when a tunnel for everything was last up.
    """

    seen_at: float | None = None
    plain_on: list[tuple[float, KeptNetwork]] = field(default_factory=list)
    works_on: list[KeptNetwork] = field(default_factory=list)
    tunnel_at: float | None = None


class KeptUp(Struct):
    """The master of a host that an agent last saw alive, whoever started it.

    `pid` is None if that master was lost and the host was waiting for a new one.
    """

    boot: str
    pid: Pid | None = None
    start: int = 0
    path: str = ""
    started_by_agent: bool = field(default=False, name="ours")
    local: str | None = None


class KeptHost(Struct):
    """What was learned about a host.

    `refused`: the times of refused logins. `refused_by_jump`: those of them at which a jump host refused the login.
    `refusing_key`: the host key of the server that refused the last login. `refused_elsewhere`: refusals by machines
    with another host key, each with that key. `few_sessions`: the server refused a session while few were open
    (MaxSessions).
    """

    held: bool = False
    paused_until: float | Literal["ever"] | None = None
    reached: list[KeptNetwork] = field(default_factory=list)
    learned_vpn: str | None = None
    vpn: str | None = None
    networks: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    worked_at: float | None = None
    login: LoginKind = "quiet"
    host_key: str | None = None
    sentinel: bool = True
    few_sessions: bool = False
    agent_socket: str | None = None
    killing: KeptKilling | None = None
    refused: list[float] = field(default_factory=list)
    refused_by_jump: list[float] = field(default_factory=list)
    refusing_key: str | None = None
    refused_elsewhere: list[tuple[float, str]] = field(default_factory=list)
    refusal: KeptRefusal | None = None
    up: KeptUp | None = None
    by_hand: KeptByHand | None = None
    mptcp: KeptMptcp | None = None


class KeptFar(Struct):
    """What a server may still hold for us: sessions, oldest first, and the Unix sockets of remote forwards."""

    sessions: list[KeptSession] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)


class KeptSocket(Struct):
    """The file of a Unix socket that a local forward created. Another file at its path would have other values."""

    inode: int
    mtime_ns: int


class KeptRoaming(Struct):
    """A connection through both relays. `token` is secret. `near` identifies the near relay's process.

    `boot` is this machine's. The server's are `machine`, `far_boot` and `far_path` (the far relay's socket), "" until
    the server reported them. `address` and `port`: where an outer master last reached the server.
    `far_pid_ns`, `far_net_ns` and `far_folder_id` identify the namespaces of the far relay and the directory of its
    socket, whose path is `far_folder`. They are "" if they are unknown: an earlier version did not record them.
    `far_port` is the far relay's TCP port, 0 if no port of the range was free, None if none was requested.
    `inner` is the pid of the inner master, None before its start. `path` is the user's control path, where the inner
    master listens. `outer_path` is where the outer masters listen. `lost_at` is when the agent noticed that its near
    relay no longer has the connection, in seconds of the wall clock. `lost_path`: another master took the user's
    control path, so the inner one drains. `outer` is then the pid of its outer master, None if that ended.
    """

    host: str
    token: Token
    near: str
    boot: str
    path: str
    outer_path: str = ""
    address: str = ""
    port: int = 0
    machine: str = ""
    far_boot: str = ""
    far_path: str = ""
    far_pid_ns: str = ""
    far_net_ns: str = ""
    far_folder: str = ""
    far_folder_id: str = ""
    roam_for_s: Annotated[float, Meta(ge=0)] = 0.0
    far_port: Annotated[int, Meta(ge=0, le=65_535)] | None = None
    inner: Pid | None = None
    start: int = 0
    lost_at: float | None = None
    lost_path: bool = False
    outer: Pid | None = None
    outer_start: int = 0


class Kept(Struct):
    """The whole file.

    The keys: the pid of a master, also of a draining one; the fresh path of an attempt; the host's name for `hosts` and
    `far`; the path of a local socket; the ID in the token of a roaming connection.
    """

    version: int = VERSION
    masters: dict[Pid, KeptMaster] = field(default_factory=dict)
    draining: dict[Pid, KeptDraining] = field(default_factory=dict)
    attempts: dict[str, KeptAttempt] = field(default_factory=dict)
    hosts: dict[str, KeptHost] = field(default_factory=dict)
    far: dict[str, KeptFar] = field(default_factory=dict)
    local_sockets: dict[str, KeptSocket] = field(default_factory=dict)
    roaming: dict[str, KeptRoaming] = field(default_factory=dict)
