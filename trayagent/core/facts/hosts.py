"""The facts of one host: what the user wants, what runs, and what was observed; frozen data.

All times are seconds of the monotonic clock, which stops while the machine sleeps.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from trayagent.core.facts.attempt import Attempt, CutShort, Retry, Trial
from trayagent.core.facts.derived import derived_once
from trayagent.core.facts.draining import Draining
from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.masters import (
    KernelMove,
    Master,
    MasterPath,
    Observation,
    OtherAddress,
    PathHere,
    Probe,
)
from trayagent.core.facts.mptcp import Mptcp
from trayagent.core.facts.network import Network
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.roaming import NO_ACCESS, NO_CHANNEL, Roaming, RoamingStart
from trayagent.core.facts.standby import NO_STANDBY, Standby
from trayagent.core.facts.time_constants import NEVER, ROAM_FOR_S

NETWORKS_KEPT = 32  # networks per host; only frequent travellers reach this limit
ForwardStateName = Literal["open", "opening", "closed", "failed"]
LoginKind = Literal["quiet", "typed", "unlocked", "touched"]
"""How a login went.

"quiet": the user was not needed. "typed": the user typed a password or a code. "unlocked": the user typed the
passphrase of a key. "touched": the user touched a key or confirmed its use.
"""


class Wish(Struct, frozen=True):
    """The configuration of a host. An adopted host has the defaults of this class."""

    listed: bool = False
    connect: Literal["always", "on-use", "never"] = "on-use"
    forwards: tuple[Forward, ...] = ()
    vpn: str | None = None
    networks: tuple[str, ...] = ()
    interactive: bool = False
    reap: bool = True
    roam: bool = False
    roam_for_s: float = ROAM_FOR_S
    roam_port: str | None = None
    standby: bool = False

    @property
    def bounds(self) -> tuple[str | None, tuple[str, ...]]:
        """The limits on where the host may be connected. They still apply after the host left the configuration."""
        return self.vpn, self.networks


class Hop(Struct, frozen=True):
    """The first TCP hop of a new connection: the host itself or its first jump host, with its user and keys.

    `known_keys` are the host keys that known_hosts has for it. They are not compared, because a new line in known_hosts
    does not make it another hop.
    """

    hostname: str
    port: int
    user: str = ""
    keys: tuple[str, ...] = ()
    known_keys: frozenset[str] = frozenset()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hop) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    @property
    def _compared(self) -> tuple[object, ...]:
        return self.hostname, self.port, self.user, self.keys


class Answer(Struct, frozen=True):
    """When and where `ssh -G` last resolved a host, and whether the answer is valid on other networks.

    `varies`: the answer may differ between networks. `lookups_allowed`: ssh was allowed to query DNS.
    `underlay` is the default route at that time: interface, gateway and source. `named`: ssh_config has a block for
    the name, None if that is not known yet.
    """

    begun_at: float = NEVER
    network: Network | None = None
    underlay: tuple[str, str | None, str | None] | None = None
    varies: bool = False
    lookups_allowed: bool = True
    named: bool | None = None


class ForwardState(Struct, frozen=True):
    """One wanted forward and its state; `listen` is the address where the forward listens, once known.

    `refused`: the server refused it. `taken`: another program has its port or path on this machine.
    """

    forward: Forward
    state: ForwardStateName = "opening"
    listen: str | None = None
    error: str | None = None
    refused: bool = False
    taken: bool = False


class Doubt(Struct, frozen=True):
    """What suggests that the master is stale, and what shows that the master lives."""

    changed_at: float = NEVER  # when the master's path last changed
    silent_at: float = (
        NEVER  # when a probe without an answer was sent, without a change; also `changed_at` then
    )
    wary_at: float = NEVER  # when the machine woke or the tunnel's underlay changed: a control comes first
    gone_at: float | None = None  # since when the local address has been missing
    left: PathHere | None = None  # the path on which the master was last alive, once the path has changed
    # Since then the master was on another path, or on one whose gateway was not resolved: perhaps another network with
    # the same addresses.
    strayed: bool = False
    proof_at: float = NEVER  # when the master last gave a proof of life
    probe: Probe | None = None
    observed: Observation | None = None
    kernel_move: KernelMove | None = None
    other_address: OtherAddress | None = None  # current only if it is not older than the doubt

    @property
    def began_at(self) -> float:
        """When the last doubt about the master began. Probes and controls from before that time prove nothing."""
        return max(self.changed_at, self.wary_at)


class UserRequests(Struct, frozen=True):
    """What the user requested of this host, beyond its configuration."""

    held: bool = False  # disconnected until the next reconnect
    until_restart: bool = False  # `held` applies only while this agent runs
    reconnect: bool = False  # the user requested a new connection, and no attempt has begun yet
    at_once: bool = False  # the requested reconnect ends the old master, even if it answers
    paused_until: float | None = None  # inf: until resumed


class Reached(Struct, frozen=True):
    """From which networks and interfaces the host was reached, and which VPN is needed on other networks."""

    networks: frozenset[Network] = frozenset()
    interfaces: frozenset[str] = frozenset()  # egress interfaces
    learned_vpn: str | None = None
    failed_without_vpn: tuple[Network, ...] = ()  # networks where a login without the learned VPN failed

    def at(self, network: Network | None) -> bool:
        """Report whether the host was certainly reached on this network before."""
        return network is not None and any(known.matches(network) for known in self.networks)


class LoginHistory(Struct, frozen=True):
    """How the last logins to the host went."""

    worked_at: float = NEVER  # when a login last worked
    kind: LoginKind = "quiet"  # how that login went
    host_key: str | None = None  # the key that the server proved then
    times: tuple[float, ...] = ()  # when the last few logins worked
    refused: tuple[float, ...] = ()  # when the last few logins were refused
    refused_by_jump: tuple[float, ...] = ()  # when a jump host refused the host's login
    refusing_key: str | None = None  # the host key of the server that refused the last login
    refused_elsewhere: tuple[tuple[float, str], ...] = ()  # by machines with another key: when, which key
    # The attempts that the agent ended, and when. The agent has not reported yet whether a login had begun.
    cut: tuple[tuple[int, float], ...] = ()
    unread_at: float = NEVER  # when the agent last ended a login whose refusal may have been on its way
    vanished_at: float = NEVER  # when the server last closed the connection or was unreachable
    cut_short: CutShort | None = None  # set if the last connection ended right after its login
    # The agent's login was refused, and then the user connected. No later login of the agent has shown whether the
    # host needs the user.
    helped: bool = False

    @property
    def was_refused(self) -> bool:
        """Whether any refused login is on record, by whichever machine."""
        return bool(self.refused or self.refused_elsewhere)

    @property
    def last_refused_at(self) -> float:
        """When a login was last refused, by whichever machine."""
        return max((*self.refused, *(at for at, _ in self.refused_elsewhere)), default=NEVER)


class Forwards(Struct, frozen=True):
    """The wanted forwards of the master, and when to request them.

    `by_hand` are forwards that are not configured: the user gave them to ssh (`ssh -L`, `ssh -O forward`). They are
    wanted as long as the host is wanted. `unknown` are addresses on which the master listens for forwards whose target
    the agent does not know. `ended` are those of the last master, which no longer listens. `tried` counts the requests
    in a row in which a forward failed.
    """

    states: tuple[ForwardState, ...] = ()
    tried: int = 0
    requested: bool = False  # whether to request the forwards as soon as the master is known to work
    retry_at: float | None = None  # when to request the failed forwards again
    owed: bool = False  # the user requested this master, and its forwards are not open yet
    by_hand: tuple[Forward, ...] = ()
    unknown: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()

    def due(self, now: float) -> bool:
        """Report whether a request for the forwards is due now."""
        return self.requested or (self.retry_at is not None and self.retry_at <= now)

    def request(self) -> Forwards:
        """Return the forwards with a request that is due at once."""
        return replace(self, requested=True, retry_at=None)

    def rest(self) -> Forwards:
        """Return the forwards with no request due."""
        return replace(self, requested=False, retry_at=None)


class Outage(Struct, frozen=True):
    """Since when the host has been away, and how earlier outages ended."""

    offline_since: float | None = None  # since when there has been no route
    began_at: float | None = None  # when a route that can carry the host became available again
    no_network_since: float | None = None  # since when a host that is missed has had no usable network
    no_network_s: float = 0.0  # how long earlier times without a network lasted in this outage
    recoveries: int = 0
    last_recovery_s: float | None = None

    def no_network_ms(self, now: float) -> float:
        """Return how long there has been no usable network in this outage, in milliseconds."""
        going_s = now - self.no_network_since if self.no_network_since is not None else 0.0
        return round((self.no_network_s + going_s) * 1e3, 1)


class Host(Struct, frozen=True):
    """All facts of one host."""

    name: str
    wish: Wish = field(default_factory=Wish)
    resolved: Resolved | None = None
    hop: Hop | None = None
    later_hops: tuple[Hop, ...] = ()  # the other jump hosts, in the order in which ssh passes them
    answer: Answer = field(default_factory=Answer)
    unnamed: bool = False
    name_removed: bool = False  # ssh_config no longer has the name for which the master was made
    addresses: tuple[str, ...] = ()
    known_keys: frozenset[str] = frozenset()  # the host keys that known_hosts has for it

    master: Master | None = None
    path: MasterPath | None = None
    network: Network | None = None
    doubt: Doubt = field(default_factory=Doubt)
    killing: frozenset[int] = frozenset()  # pids of the masters that the agent is ending
    attempt: Attempt | None = None
    draining: Draining | None = None  # set if this entry is an earlier master of a host
    roaming: Roaming | None = (
        None  # set while an inner master has the control path; `master` is the outer one
    )
    roaming_start: RoamingStart = field(default_factory=RoamingStart)
    outer_path: str | None = None  # where the outer masters listen, or listened while the host roamed
    standby: Standby = NO_STANDBY  # the spare master on a second interface

    lost: bool = False  # the network ended its connection, so the agent reconnects even an on-use host
    awaited: bool = False  # open sessions of an earlier inner master need its next outer master
    user: UserRequests = field(default_factory=UserRequests)
    problem: Problem | None = None
    retry: Retry = field(default_factory=Retry)
    bare_retry: Retry = field(default_factory=Retry)  # the back-off of bare controls, not of logins
    used_at: float = NEVER  # when its user last began to use it
    checked_at: float = NEVER  # when the banner of the host's server was last checked
    reached: Reached = field(default_factory=Reached)
    login: LoginHistory = field(default_factory=LoginHistory)
    mptcp: Mptcp = field(default_factory=Mptcp)
    forwards: Forwards = field(default_factory=Forwards)
    trial: Trial = field(default_factory=Trial)
    agent_socket: Problem | None = None  # why the server's link to the ssh-agent could not be made
    outage: Outage = field(default_factory=Outage)

    @property
    def suspect(self) -> bool:
        """Whether something changed since the last proof that the master lives.

        Never if another agent's near relay carries the master: neither an address nor silence says anything about it.
        """
        if self.master is None or self.master.relayed:
            return False
        return self.doubt.began_at >= self.doubt.proof_at

    @property
    def path_here(self) -> PathHere | None:
        """The master's path and network now."""
        return PathHere(self.path, self.network) if self.path is not None else None

    @property
    def probed_at(self) -> float | None:
        """When the unanswered probe was sent, or None if no probe is unanswered."""
        return self.doubt.probe.sent_at if self.doubt.probe is not None else None

    @property
    def path_unchanged(self) -> bool:
        """Whether no change of network and no sleep caused the doubt, but only silence."""
        return self.doubt.silent_at == self.doubt.began_at

    @property
    def returned(self) -> bool:
        """Whether the master is back on the path where it was last alive, and was on another one meanwhile."""
        here, left = self.path_here, self.doubt.left
        return here is not None and left is not None and self.doubt.strayed and here.same(left)

    @property
    def masters(self) -> tuple[Master, ...]:
        """The host's master, its inner master if the host roams, and its spare master."""
        found = (self.master, self.roaming.inner if self.roaming is not None else None, self.spare)
        return tuple(master for master in found if master is not None)

    @property
    def spare(self) -> Master | None:
        """The spare master on a second interface, also while it is about to become the host's master."""
        if self.attempt is not None and self.attempt.standby:
            return self.attempt.ready
        return self.standby.master

    @property
    def forwarding_master(self) -> Master | None:
        """The master that has the host's forwards: the inner one if the host roams."""
        return self.roaming.inner if self.roaming is not None else self.master

    @property
    def hidden_path(self) -> str | None:
        """The control path of the host's next master, or None if that is the user's control path."""
        left_there = self.master is not None and self.master.control_path == self.outer_path
        return self.outer_path if self.roaming is not None or left_there else None

    @property
    def linked(self) -> bool:
        """Whether the user's control path can carry data, as far as the agent knows its master and the link."""
        if self.roaming is not None and self.roaming.by_port_since is not None:
            return True
        if self.roaming is None or self.master is None:
            return self.master is not None and (self.hidden_path is None or self.roaming_start.taken)
        return self.roaming.carrier == self.master.pid

    @property
    def renewing(self) -> bool:
        """Whether the agent ends the inner master at the user's request, or moves the outer one to the user's path."""
        if self.roaming is not None or self.master is None:
            return self.roaming is not None and self.roaming.renewed
        return not self.linked and self.roaming_start.restoring == self.master.pid

    @property
    def attaching(self) -> bool:
        """Whether an attach through the current outer master is in progress, so the sessions may soon continue."""
        roaming, master = self.roaming, self.master
        return (
            roaming is not None and master is not None and not self.linked and roaming.attaching == master.pid
        )

    @property
    def waits_for_machine(self) -> bool:
        """Whether the sessions wait, because the current outer master reached another machine than theirs."""
        roaming, master = self.roaming, self.master
        elsewhere = roaming is not None and master is not None and roaming.elsewhere == master.pid
        return elsewhere and not self.linked and not self.attaching and self.attempt is None

    @property
    def waits_for_relay(self) -> bool:
        """Whether the sessions wait, because the server gives no access to their far relay, which may still run."""
        roaming, waits = self.roaming, not self.linked and self.master is not None and self.attempt is None
        if roaming is None or not waits:
            return False
        # The first attach may also have failed because its outer master was about to end.
        return roaming.trouble in NO_ACCESS or (roaming.trouble in NO_CHANNEL and roaming.failed > 1)

    @property
    def ending(self) -> bool:
        """Whether the agent has killed the master and only waits for its end."""
        replaced = self.attempt is not None and self.attempt.taking_over
        return self.master is not None and self.master.pid in self.killing and not replaced

    @property
    def by_user(self) -> bool:
        """Whether the agent is carrying out a request of the user. A refused login ends the request."""
        attempt = self.attempt
        return self.user.reconnect or (
            attempt is not None and attempt.purpose == "user" and attempt.refused is None
        )

    @property
    def at_prompt(self) -> bool:
        """Whether the user is logging in to the host at a terminal. Only the user may end that login."""
        return self.attempt is not None and self.attempt.at_prompt

    @property
    def server(self) -> str:
        """The name under which the server's attempts are counted: "HOST:PORT" of the first hop, if known."""
        return _server_of(self)


@derived_once("hop", "master")
def _server_of(host: Host) -> str:
    if host.hop is not None:
        return f"{host.hop.hostname}:{host.hop.port}"
    if host.master is not None and host.master.peer is not None:
        return f"{host.master.peer}:{host.master.peer_port}"
    return host.name
