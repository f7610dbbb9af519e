"""The records that outlive an agent, as typed structs. The file is JSON with these names.

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
"""The token of a connection that roams. Its digits go into a command line on the server."""
KeptNetwork = Annotated[list[str], Meta(min_length=1, max_length=3)]
"""Egress interface, the gateway's hardware address, the network's name."""


class KeptMaster(Struct):
    """A master that an agent started."""

    path: str
    start: int
    boot: str
    host: str
    forwards: list[str] = field(default_factory=list)
    host_key: str | None = None
    target: str | None = None


class KeptAttempt(Struct):
    """An attempt in progress: its host, the control path that it is meant for, its log."""

    host: str
    target: str
    log: str
    boot: str


class KeptDraining(Struct):
    """A master that lets its sessions end. `path` was its control path; `second_name` leads to it until it stops."""

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

    `by_jump`: a jump host refused it. `proven`: the server itself refused it. `network` and `source` are where that
    login left.
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
    """Masters that an agent was about to end, in this boot."""

    boot: str
    pids: list[Pid] = field(default_factory=list)


class KeptByHand(Struct):
    """Forwards that the user gave to ssh in this boot, each as "kind spec"."""

    boot: str
    forwards: list[str] = field(default_factory=list)


class KeptUp(Struct):
    """A master that an agent last saw alive in this boot, whoever started it.

    `pid` is None once that master was lost and the host waited for its recovery.
    """

    boot: str
    pid: Pid | None = None
    start: int = 0
    path: str = ""
    started_by_agent: bool = field(default=False, name="ours")
    local: str | None = None


class KeptHost(Struct):
    """What was learned about a host. `refused_by_jump` are the times in `refused` at which a jump host refused it.

    `refusing_key` is the host key of the server that refused the last login. `refused_elsewhere` are refusals by
    machines with another host key, each with that key. `few_sessions`: its server refused a
    session while few were open (MaxSessions).
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


class KeptFar(Struct):
    """What a server may still hold for us: sessions, oldest first, and the Unix sockets of remote forwards."""

    sessions: list[KeptSession] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)


class KeptSocket(Struct):
    """The file of a Unix socket that a local forward created. A later file at its path has other values."""

    inode: int
    mtime_ns: int


class KeptRoaming(Struct):
    """A connection through both relays. `token` is secret. `near` identifies the near relay's process.

    `boot` is this machine's. `machine`, `far_boot` and `far_path` (of the far relay's socket) are the server's, ""
    until it reported them. `address` and `port` are where the outer master of its start led. `inner` is the pid of the
    inner master, None before its start. `outer_path` is where the outer masters listen, in place of `path`, which the
    inner one has. `lost_at` is when the agent noticed that its near relay no longer has the connection, in seconds of
    the wall clock.
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
    roam_for_s: Annotated[float, Meta(ge=0)] = 0.0
    inner: Pid | None = None
    start: int = 0
    lost_at: float | None = None


class Kept(Struct):
    """The whole file.

    Masters and draining ones are by pid, attempts by the fresh path, hosts and their servers by name, local sockets
    by their path, connections that roam by the ID of their token.
    """

    version: int = VERSION
    masters: dict[Pid, KeptMaster] = field(default_factory=dict)
    draining: dict[Pid, KeptDraining] = field(default_factory=dict)
    attempts: dict[str, KeptAttempt] = field(default_factory=dict)
    hosts: dict[str, KeptHost] = field(default_factory=dict)
    far: dict[str, KeptFar] = field(default_factory=dict)
    local_sockets: dict[str, KeptSocket] = field(default_factory=dict)
    roaming: dict[str, KeptRoaming] = field(default_factory=dict)
