"""The facts of one host: what the user wishes, what runs, and what was seen of it; frozen data.

All times are seconds of the monotonic clock, which stands still while the machine sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.time_constants import RTT_BOUNDS_S, RTT_UNKNOWN_S

NEVER = -inf
NETWORKS_KEPT = 32  # of one host: more are a traveller's, and would only grow the file
Purpose = Literal["connect", "control", "user", "check"]
ForwardStateName = Literal["open", "opening", "closed", "failed"]
LoginKind = Literal["quiet", "typed", "unlocked", "touched"]
"""How a login went: by itself; with a password or code; with a key whose passphrase was typed; with a key that
was touched or confirmed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user described for a host; an adopted one has the defaults of this class."""

    listed: bool = False
    connect: Literal["always", "on-use", "never"] = "on-use"
    forwards: tuple[Forward, ...] = ()
    vpn: str | None = None
    networks: tuple[str, ...] = ()
    interactive: bool = False
    reap: bool = True


@dataclass(frozen=True, slots=True)
class Hop:
    """The first TCP hop of a new connection: the host itself, or its first jump host; who logs in there, with what."""

    hostname: str
    port: int
    user: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Master:
    """A living ssh master, as found.

    `ours`: started by trayagent, known by its record. `local` and `peer` are the ends of
    the TCP connection that carries it, None where none was found. `direct` is false behind
    a jump host or ProxyCommand; `carrier` is the pid of the master that carries this one.
    `host_key` is the key ("TYPE SHA256:…") that its server proved at the login; None where
    nobody recorded it, as for masters that somebody else started.
    """

    pid: int
    start_ticks: int
    control_path: str
    ours: bool = False
    local: str | None = None
    local_port: int = 0
    peer: str | None = None
    peer_port: int = 0
    direct: bool = True
    carrier: int | None = None
    egress: str | None = None
    min_rtt_s: float | None = None
    host_key: str | None = None

    @property
    def rtt_s(self) -> float:
        """The round trip to judge silence by."""
        low, high = RTT_BOUNDS_S
        return RTT_UNKNOWN_S if self.min_rtt_s is None else min(max(self.min_rtt_s, low), high)


@dataclass(frozen=True, slots=True)
class MasterPath:
    """The path of a master: what must not change for its connection to be beyond doubt.

    While the local address is missing nothing else counts. That it is `tentative` is no change of the path,
    but nothing is sent from it meanwhile. `bearer` is the interface that has the local address: answers come back
    through it, also where the packets leave through another one.
    """

    present: bool
    carrier: bool = False
    egress: str | None = None
    prefix: str | None = None
    gateway: str | None = None
    source_differs: bool = False
    tentative: bool = False
    bearer: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where the machine is, seen along one egress; `gateway` is a link-layer address, "" while unknown."""

    egress: str
    gateway: str = ""
    network: str = ""

    @property
    def known(self) -> bool:
        """Whether this place could be told from others."""
        return bool(self.gateway or self.network)

    def matches(self, other: Place) -> bool:
        """Report whether both are certainly the same place; a gateway says more than a network's name."""
        if self.egress != other.egress:
            return False
        if self.gateway and other.gateway:
            return self.gateway == other.gateway
        return bool(self.network) and self.network == other.network

    def differs(self, other: Place) -> bool:
        """Report whether these are certainly two places; what only one of them tells is no difference."""
        if self.egress != other.egress:
            return True
        if self.gateway and other.gateway:
            return self.gateway != other.gateway
        return bool(self.network and other.network) and self.network != other.network


@dataclass(frozen=True, slots=True)
class Probe:
    """A question on its way through the old connection; one at a time.

    `acked` counts the bytes sent after it that were acknowledged, `moved_at` tells when that number last rose.
    `drained_at`: when all that was queued before the question was acknowledged.
    """

    sent_at: float
    acked: int = 0
    moved_at: float | None = None
    drained_at: float | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What the kernel says of the old connection: when it sends again by itself, the round trip of now.

    `adrift`: it shows no connection at all.
    """

    at: float
    retransmit_at: float | None = None
    rtt_s: float | None = None
    adrift: bool = False


WayOut = tuple[str, str | None]
"""An interface and the address that the kernel sends from."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A new connection on its way; a control for the old one as long as that one is in doubt.

    `bare`: TCP and banner only, no login. `refused`: the right server answered and let
    nobody in. `unwanted`: the old one turned out to live; ended as soon as it may be. `at_terminal`: a person
    makes it, with an ssh that is no child of ours. `ways`: what it could have gone over when it last began a
    connection, `redials` times since the first.
    """

    id: int
    purpose: Purpose
    started_at: float
    bare: bool = False
    place: Place | None = None
    source: str | None = None
    ways: frozenset[WayOut] = frozenset()
    redials: int = 0
    established_at: float | None = None
    positive_at: float | None = None
    ready: Master | None = None
    refused: Problem | None = None
    unwanted: bool = False
    taking_over: bool = False
    at_terminal: bool = False
    replaces: int | None = None  # the pid of the old master that was judged
    grace_until: float | None = None
    waited: bool = False  # the grace covers a retransmission of the old one

    @property
    def at_prompt(self) -> bool:
        """Whether a person is at it, and nobody but them may end it."""
        return self.at_terminal and self.positive_at is None


@dataclass(frozen=True, slots=True)
class Retry:
    """Back-off of one host: when the next automatic attempt is due (None: not by itself), and its history.

    `proven`: the last failure came from the server itself, not from somebody on the path to it. `seen`: it came as
    far as a server; `by_jump`: it was a jump host that refused. `rearmed`: when and where the network changed its
    mind.
    """

    at: float | None = NEVER
    kind: FailureKind | None = None
    count: int = 0
    failed_at: float = NEVER
    place: Place | None = None
    source: str | None = None
    seen: bool = True
    by_jump: bool = False
    proven: bool = True
    checked: bool = False  # a banner check allowed a login on this path
    allowed: bool = False  # that login is not made yet
    rearmed: tuple[tuple[float, Place | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """When and where `ssh -G` last answered for a host, and what that answer is worth elsewhere.

    `varies`: it may differ between networks. `looked_up`: ssh was allowed to look names up for it.
    `underlay` is the route out at that time: interface, gateway and source.
    """

    asked_at: float = NEVER
    place: Place | None = None
    underlay: tuple[str, str | None, str | None] | None = None
    varies: bool = False
    looked_up: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """Whether the keys still let us in, asked beside a living master because they changed.

    `wanted_at`: when they did, None once that was answered. `running` is the number under which the
    server's count of attempts knows it. `begun`: when the last few began.
    """

    wanted_at: float | None = None
    running: int | None = None
    begun: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ForwardState:
    """One wanted forward and what became of it; `listen` is where it listens, once known.

    `refused`: it was the server that said no.
    """

    forward: Forward
    state: ForwardStateName = "opening"
    listen: str | None = None
    error: str | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """All that is known of one host."""

    name: str
    wish: Wish = field(default_factory=Wish)
    resolved: Resolved | None = None
    hop: Hop | None = None
    answer: Answer = field(default_factory=Answer)
    unnamed: bool = False
    addresses: tuple[str, ...] = ()

    master: Master | None = None
    path: MasterPath | None = None
    place: Place | None = None
    changed_at: float = NEVER  # the master's path, last
    proof_at: float = NEVER  # the master's last proof of life
    wary_at: float = NEVER  # woken, or the underlay of its tunnel changed: control first
    gone_at: float | None = None  # the local address is missing since
    probe: Probe | None = None
    observed: Observation | None = None
    killing: frozenset[int] = frozenset()  # pids whose end is our doing
    attempt: Attempt | None = None

    lost: bool = False  # it was up and the network took it: an on-use host is recovered
    held: bool = False  # the user disconnected it
    asked: bool = False  # the user asked for a reconnect that is not yet answered
    paused_until: float | None = None  # inf: until resumed
    problem: Problem | None = None
    retry: Retry = field(default_factory=Retry)
    bare_retry: Retry = field(
        default_factory=Retry
    )  # of bare controls: a refused login stays refused meanwhile
    offline_since: float | None = None
    reached: frozenset[Place] = frozenset()
    reached_through: frozenset[str] = frozenset()  # egress interfaces
    checked_at: float = NEVER  # the banner of its server, last
    learned_vpn: str | None = None
    failed_without_vpn: tuple[Place, ...] = ()  # networks where a login without the learned VPN failed
    worked_at: float = NEVER  # the login, last
    login: LoginKind = "quiet"  # how that went
    host_key: str | None = None  # that the server proved then
    vanished_at: float = NEVER  # the server closed or was unreachable, last
    refused: tuple[float, ...] = ()  # logins that were refused, the last few
    refused_by_jump: tuple[float, ...] = ()  # those of them that a jump host refused
    logins: tuple[float, ...] = ()  # that succeeded, the last few
    forwards: tuple[ForwardState, ...] = ()
    forwards_tried: int = 0
    forwards_at: float | None = None  # a failed forward is asked again
    forwards_owed: bool = False  # the user's own word made this master, and its forwards are not open yet
    trial: Trial = field(default_factory=Trial)
    agent_socket: Problem | None = None  # why the far side's link to it could not be made

    outage_at: float | None = None  # when the way became able to carry it again
    recoveries: int = 0
    last_recovery_s: float | None = None

    @property
    def suspect(self) -> bool:
        """Whether the master's life is in doubt: something changed since the last proof."""
        return self.master is not None and self.doubt_at >= self.proof_at

    @property
    def doubt_at(self) -> float:
        """When the master's life was last thrown into doubt; older questions and controls tell nothing of it."""
        return max(self.changed_at, self.wary_at)

    @property
    def ending(self) -> bool:
        """Whether the master was killed by us, and only its end is waited for."""
        replaced = self.attempt is not None and self.attempt.taking_over
        return self.master is not None and self.master.pid in self.killing and not replaced

    @property
    def by_user(self) -> bool:
        """Whether the user's own word is being carried out."""
        return self.asked or (self.attempt is not None and self.attempt.purpose == "user")

    @property
    def at_prompt(self) -> bool:
        """Whether a person logs in to it at a terminal, and nobody but them may end that."""
        return self.attempt is not None and self.attempt.at_prompt

    def was_reached_at(self, place: Place | None) -> bool:
        """Report whether it was certainly here that the host was reached before."""
        return place is not None and any(known.matches(place) for known in self.reached)

    @property
    def server(self) -> str:
        """The key under which attempts are counted: the first hop."""
        if self.hop is not None:
            return f"{self.hop.hostname}:{self.hop.port}"
        if self.master is not None and self.master.peer is not None:
            return f"{self.master.peer}:{self.master.peer_port}"
        return self.name
