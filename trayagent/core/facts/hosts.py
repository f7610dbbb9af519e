"""The facts of one host: what the user wants, what runs, and what was observed; frozen data.

All times are seconds of the monotonic clock, which stops while the machine sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

from trayagent.core.facts.draining import Draining
from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.time_constants import RTT_BOUNDS_S, RTT_UNKNOWN_S

NEVER = -inf
NETWORKS_KEPT = 32  # networks per host; only frequent travellers reach this many, and the file must not grow
Purpose = Literal["connect", "control", "user", "check"]
ForwardStateName = Literal["open", "opening", "closed", "failed"]
LoginKind = Literal["quiet", "typed", "unlocked", "touched"]
"""How a login went: without the user; with a password or code; with a passphrase; with a security key's touch.

"unlocked": the passphrase of a key was typed. "touched": a key was touched or its use was confirmed.
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """The configuration of a host. An adopted host has the defaults of this class."""

    listed: bool = False
    connect: Literal["always", "on-use", "never"] = "on-use"
    forwards: tuple[Forward, ...] = ()
    vpn: str | None = None
    networks: tuple[str, ...] = ()
    interactive: bool = False
    reap: bool = True


@dataclass(frozen=True, slots=True)
class Hop:
    """The first TCP hop of a new connection: the host itself or its first jump host, with its user and keys."""

    hostname: str
    port: int
    user: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Master:
    """A living ssh master, as found.

    `ours`: trayagent started it, according to its record. `local` and `peer` are the ends of the TCP connection that
    carries it, or None if none was found. `direct` is false behind a jump host or ProxyCommand. `carrier` is the pid
    of the master that carries this one. `host_key` is the key ("TYPE SHA256:…") that its server proved at the login.
    It is None if nobody recorded it, as for masters that trayagent did not start. `target` is where the host's name
    led in ssh_config when the master was made (`Resolved.target`).
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
    target: str | None = None

    @property
    def rtt_s(self) -> float:
        """The round-trip time in seconds by which silence is judged."""
        low, high = RTT_BOUNDS_S
        return RTT_UNKNOWN_S if self.min_rtt_s is None else min(max(self.min_rtt_s, low), high)


@dataclass(frozen=True, slots=True)
class MasterPath:
    """The path of a master: what must stay the same for its connection to be beyond doubt.

    While the local address is missing, the other fields are ignored. `tentative` does not count as a change of the
    path, but the kernel sends nothing from a tentative address. `bearer` is the interface that has the local
    address. Answers arrive through it, even if packets leave through another interface. In that case `bearer_network`
    is its network, if known.
    """

    present: bool
    carrier: bool = False
    egress: str | None = None
    prefix: str | None = None
    gateway: str | None = None
    source_differs: bool = False
    tentative: bool = False
    bearer: str | None = None
    bearer_network: Network | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Network:
    """The network as seen through one interface; `gateway` is a link-layer address, "" while unknown."""

    egress: str
    gateway: str = ""
    name: str = ""

    @property
    def known(self) -> bool:
        """Whether enough is known to tell this network from others."""
        return bool(self.gateway or self.name)

    def matches(self, other: Network) -> bool:
        """Report whether both are certainly the same network. A gateway counts more than a network's name."""
        if self.egress != other.egress:
            return False
        if self.gateway and other.gateway:
            return self.gateway == other.gateway
        return bool(self.name) and self.name == other.name

    def differs(self, other: Network) -> bool:
        """Report whether these are certainly two networks. A fact that only one of them has is no difference."""
        if self.egress != other.egress:
            return True
        if self.gateway and other.gateway:
            return self.gateway != other.gateway
        return bool(self.name and other.name) and self.name != other.name


@dataclass(frozen=True, slots=True)
class PathHere:
    """A master's path, and the network in which it was seen. The same path in another network is another one."""

    path: MasterPath
    network: Network | None = None

    def same(self, other: PathHere) -> bool:
        """Report whether both are one path in one network, whatever source the kernel would choose now."""
        if replace(self.path, tentative=False, source_differs=False) != replace(
            other.path, tentative=False, source_differs=False
        ):
            return False
        return not _differ(self.network, other.network) and not _differ(
            self.path.bearer_network, other.path.bearer_network
        )


def _differ(one: Network | None, other: Network | None) -> bool:
    """Report whether both are known and certainly two networks."""
    return one is not None and other is not None and one.differs(other)


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe on its way through the old connection. There is one at a time.

    `sent_over` is the path on which it was sent. `again`: it was silent, and a second, different question followed.
    `acked` counts the acknowledged bytes among those sent after it; `moved_at` is when that number last rose.
    `drained_at` is when everything that was queued before the probe was acknowledged.
    """

    sent_at: float
    sent_over: PathHere | None = None
    acked: int = 0
    moved_at: float | None = None
    drained_at: float | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """The kernel's report on the old connection: when it will retransmit, and the current round-trip time.

    `adrift`: the kernel shows no connection at all. `stopped`: a process of the connection is suspended.
    """

    at: float
    retransmit_at: float | None = None
    rtt_s: float | None = None
    adrift: bool = False
    stopped: bool = False


RouteOut = tuple[str, str | None]
"""An interface, and the address from which the kernel sends."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A new connection that is being made. It also serves as the control while the old connection is in doubt.

    `bare`: TCP and banner only, no login. `refused`: the right server answered and refused the login. `unwanted`:
    the old connection turned out to live, so this one ends as soon as it may. `at_terminal`: the user makes it, with
    an ssh that is not our child process. `routes`: the routes that were available when it last began a connection. It
    has begun `redials` more connections since the first. `carried`: the jump host's own master lives, so that no login
    is made there.
    """

    id: int
    purpose: Purpose
    started_at: float
    bare: bool = False
    network: Network | None = None
    source: str | None = None
    routes: frozenset[RouteOut] = frozenset()
    redials: int = 0
    established_at: float | None = None
    positive_at: float | None = None
    ready: Master | None = None
    refused: Problem | None = None
    unwanted: bool = False
    taking_over: bool = False
    at_terminal: bool = False
    carried: bool = False
    replaces: int | None = None  # the pid of the old master that was judged
    grace_until: float | None = None
    waited: bool = False  # the grace already covers a retransmission of the old connection

    @property
    def at_prompt(self) -> bool:
        """Whether the user is logging in with it at a terminal, so that only they may end it."""
        return self.at_terminal and self.positive_at is None


@dataclass(frozen=True, slots=True)
class Retry:
    """Back-off of one host: when the next automatic attempt is due (None: none is), and its history.

    `proven`: the last failure came from the server itself, not from someone on the path to it. `seen`: a server saw
    the failed attempt. `by_jump`: a jump host refused it. `rearmed`: when and where a network change brought a retry
    forward.
    """

    at: float | None = NEVER
    kind: FailureKind | None = None
    count: int = 0
    failed_at: float = NEVER
    network: Network | None = None
    source: str | None = None
    seen: bool = True
    by_jump: bool = False
    proven: bool = True
    checked: bool = False  # a banner check has allowed a login on this path
    allowed: bool = False  # that login has not been made yet
    rearmed: tuple[tuple[float, Network | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """When and where `ssh -G` last resolved a host, and whether the answer holds elsewhere.

    `varies`: the answer may differ between networks. `looked_up`: ssh was allowed to resolve names for it.
    `underlay` is the route out at that time: interface, gateway and source.
    """

    asked_at: float = NEVER
    network: Network | None = None
    underlay: tuple[str, str | None, str | None] | None = None
    varies: bool = False
    looked_up: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """A check beside a living master whether the server accepts changed keys.

    `wanted_at` is when the keys changed, or None after the trial. `running` is the number of the trial among the
    server's attempts. `begun` are the times when the last few trials began.
    """

    wanted_at: float | None = None
    running: int | None = None
    begun: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ForwardState:
    """One wanted forward and its state; `listen` is where it listens, once known.

    `refused`: the server refused it.
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
    network: Network | None = None
    changed_at: float = NEVER  # when the master's path last changed
    left: PathHere | None = None  # the path on which the master was last alive, once that has changed
    proof_at: float = NEVER  # when the master last gave a proof of life
    wary_at: float = NEVER  # when the machine woke or the tunnel's underlay changed: a control comes first
    gone_at: float | None = None  # since when the local address has been missing
    probe: Probe | None = None
    observed: Observation | None = None
    killing: frozenset[int] = frozenset()  # pids that we are ending
    attempt: Attempt | None = None
    draining: Draining | None = None  # this is no host, but an earlier master of one

    lost: bool = False  # it was up and the network took it down: an on-use host is recovered
    held: bool = False  # the user disconnected it
    asked: bool = False  # the user requested a reconnect, and the attempt has not begun
    at_once: bool = False  # that reconnect ends the old master, even if it answers
    paused_until: float | None = None  # inf: until resumed
    problem: Problem | None = None
    retry: Retry = field(default_factory=Retry)
    bare_retry: Retry = field(default_factory=Retry)  # of bare controls; independent of a refused login
    offline_since: float | None = None
    reached: frozenset[Network] = frozenset()
    reached_through: frozenset[str] = frozenset()  # egress interfaces
    checked_at: float = NEVER  # when the banner of its server was last checked
    learned_vpn: str | None = None
    failed_without_vpn: tuple[Network, ...] = ()  # networks where a login without the learned VPN failed
    worked_at: float = NEVER  # when a login last worked
    login: LoginKind = "quiet"  # how that login went
    host_key: str | None = None  # the key that the server proved then
    vanished_at: float = NEVER  # when the server last closed the connection or was unreachable
    refused: tuple[float, ...] = ()  # when the last few logins were refused
    refused_by_jump: tuple[float, ...] = ()  # those of them that a jump host refused
    logins: tuple[float, ...] = ()  # when the last few logins worked
    forwards: tuple[ForwardState, ...] = ()
    forwards_tried: int = 0
    forwards_at: float | None = None  # when to request failed forwards again
    forwards_owed: bool = False  # the user requested this master, and its forwards are not open yet
    trial: Trial = field(default_factory=Trial)
    agent_socket: Problem | None = None  # why the link to it on the server could not be made

    outage_at: float | None = None  # when a route became available that could carry the host again
    recoveries: int = 0
    last_recovery_s: float | None = None

    @property
    def suspect(self) -> bool:
        """Whether it is doubtful that the master lives: something changed since the last proof."""
        return self.master is not None and self.doubt_at >= self.proof_at

    @property
    def doubt_at(self) -> float:
        """When the last doubt about the master began. Probes and controls from before that time prove nothing."""
        return max(self.changed_at, self.wary_at)

    @property
    def path_here(self) -> PathHere | None:
        """The master's path and network now."""
        return PathHere(self.path, self.network) if self.path is not None else None

    @property
    def returned(self) -> bool:
        """Whether the path is again the one on which the master was last alive, and the probe went over another one."""
        here, over = self.path_here, self.probe.sent_over if self.probe is not None else None
        if here is None or over is None or self.left is None:
            return False
        return here.same(self.left) and not here.same(over)

    @property
    def ending(self) -> bool:
        """Whether we have killed the master and wait only for its end."""
        replaced = self.attempt is not None and self.attempt.taking_over
        return self.master is not None and self.master.pid in self.killing and not replaced

    @property
    def by_user(self) -> bool:
        """Whether a request of the user is being carried out. A refused login has ended it."""
        attempt = self.attempt
        return self.asked or (attempt is not None and attempt.purpose == "user" and attempt.refused is None)

    @property
    def at_prompt(self) -> bool:
        """Whether the user is logging in to it at a terminal, so that only they may end that login."""
        return self.attempt is not None and self.attempt.at_prompt

    def was_reached_at(self, network: Network | None) -> bool:
        """Report whether the host was certainly reached on this network before."""
        return network is not None and any(known.matches(network) for known in self.reached)

    @property
    def server(self) -> str:
        """The server, identified by the first hop, under which attempts are counted."""
        if self.hop is not None:
            return f"{self.hop.hostname}:{self.hop.port}"
        if self.master is not None and self.master.peer is not None:
            return f"{self.master.peer}:{self.master.peer_port}"
        return self.name
