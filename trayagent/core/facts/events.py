"""The events that `decide` handles, named in the past tense. `at` is in monotonic seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from trayagent.core.facts.draining import Draining
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.failure import Failure, FailureKind
from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.hosts import ForwardState, Hop, LoginKind, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.mptcp import Mptcp, Outcome
from trayagent.core.facts.network import Network, Snapshot, Touched
from trayagent.core.facts.network_manager import ManagerFacts
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.remote_sessions import Reaped
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.vpns import Vpn


class Event(Struct, frozen=True):
    """Something happened at a given time."""

    at: float


class NetworkRead(Event, frozen=True):
    """The agent read the network again, because a watcher hinted at a change or more route look-ups were needed."""

    snapshot: Snapshot
    touched: Touched = field(default_factory=Touched)


class Woke(Event, frozen=True):
    """The machine woke from sleep."""

    asleep_s: float | None = None


class Configured(Event, frozen=True):
    """The agent read the configuration, at its start or after a change."""

    wishes: Mapping[str, Wish]
    vpns: tuple[Vpn, ...] = ()
    adopt: bool = True
    keep_while_offline_s: float = 600.0
    learn_vpn: bool = True
    end_beside: bool = False
    mptcp: bool = True


class Started(Event, frozen=True):
    """The first scan of the machine is complete. Living masters are known, so new ones may be made."""


class ManagerReported(Event, frozen=True):
    """The network manager reported a change of VPNs, network names or connectivity."""

    facts: ManagerFacts


class SignInFailed(Event, frozen=True):
    """The user's sign-in to a VPN failed. `error` explains the failure to the user."""

    vpn: str
    error: str


class Refusal(Struct, frozen=True):
    """The refused login that an earlier agent stored. `retry_in_s` None means that no retry is due.

    `by_jump`: a jump host refused it. `proven`: the server itself refused it. If that is not proven, the refusal
    applies only to the path of that login, which `network` and `source` describe.
    """

    kind: FailureKind
    problem: Problem
    retry_in_s: float | None = None
    by_jump: bool = False
    proven: bool = True
    network: Network | None = None
    source: str | None = None


class Remembered(Event, frozen=True):
    """The stored facts of a host from an earlier agent. `refused_ago_s` are the ages of the last refused logins.

    `refused_by_jump_ago_s` are the ages of the logins that a jump host refused. `refusing_key` is the host key of
    the server that refused the last login. `refused_elsewhere` are the ages of refusals by machines with another host
    key, each with that key. `by_hand` are the forwards that the user has given to ssh since this boot.
    `vpn` and `networks` come from the host's configuration table, if it had one. `killing` are the pids of masters
    that the earlier agent began to end. That agent may have exited before they did. `lost`: the host's master died
    while no agent ran, although no user or program had requested its end.
    """

    name: str
    held: bool = False
    paused_for_s: float | None = None
    reached: frozenset[Network] = frozenset()
    learned_vpn: str | None = None
    addresses: tuple[str, ...] = ()
    login_worked_ago_s: float | None = None
    login: LoginKind = "quiet"
    host_key: str | None = None
    refused_ago_s: tuple[float, ...] = ()
    refused_by_jump_ago_s: tuple[float, ...] = ()
    refusing_key: str | None = None
    refused_elsewhere: tuple[tuple[float, str], ...] = ()
    refusal: Refusal | None = None
    killing: frozenset[int] = frozenset()
    lost: bool = False
    vpn: str | None = None
    networks: tuple[str, ...] = ()
    by_hand: tuple[Forward, ...] = ()
    mptcp: Mptcp = field(default_factory=Mptcp)


class HostResolved(Event, frozen=True):
    """`ssh -G` resolved a host. ssh ran at `begun_at` (None: just now).

    `varies`: the answer may differ between networks. `lookups_allowed`: ssh was allowed to query DNS.
    `known_keys` are the host keys ("TYPE SHA256:…") that the known_hosts files have for the host. `hop` is the first
    TCP hop (None: ssh connects through a command). `later_hops` are the jump hosts that are not `hop`. `named`:
    ssh_config has a block for this name.
    """

    name: str
    resolved: Resolved
    hop: Hop | None = None
    begun_at: float | None = None
    varies: bool = False
    lookups_allowed: bool = True
    known_keys: frozenset[str] = frozenset()
    later_hops: tuple[Hop, ...] = ()
    named: bool = True


class ResolveFailed(Event, frozen=True):
    """`ssh -G` rejected a host's name or the user's ssh configuration; `lookups_allowed` as in HostResolved."""

    name: str
    failure: Failure
    lookups_allowed: bool = True


class MasterFound(Event, frozen=True):
    """A living master was found on a control path.

    `unnamed`: the control path belongs to no alias, according to `ssh -G` (an unnamed master). `fresh`: the master
    has only just connected, so there is no doubt that it works. `survivor`: an earlier agent saw it alive, so it is
    older than a refused login that the earlier agent stored.
    """

    name: str
    master: Master
    unnamed: bool = False
    fresh: bool = False
    survivor: bool = False


class MasterEnded(Event, frozen=True):
    """A master's process ended. `failure` is what its last message reports; `by_request`: its exit was requested.

    `in_order`: ssh ended while its connection worked, on request or not. A session that ends and ControlPersist end a
    master in this way, too.
    """

    name: str
    pid: int
    failure: Failure | None = None
    by_request: bool = False
    in_order: bool = False


class ProbeAnswered(Event, frozen=True):
    """A master answered its probe."""

    name: str
    pid: int


class Observed(Event, frozen=True):
    """The kernel's view of the TCP connection that carries a master (the master's own or a transport's).

    `acked` counts the bytes that were sent after the probe and are acknowledged by now. `ahead` counts the bytes
    that were queued before the probe and are not acknowledged. `rtt_s` is the current round trip, queues included.
    `now` is the master with its new addresses, if the kernel moved its connection, or without addresses, if datagrams
    may carry it. `adrift`: the process lives, but the kernel shows no connection for it. The connection may be moving
    to another address. `stopped`: the master, or a process that carries its bytes, is suspended (SIGSTOP, Ctrl-Z), so
    it cannot read an answer. `acked` and `ahead` refer to the probe that was sent at `probed_at`. `unused`: no program
    has a session or a forwarded connection on the master. `sessions`: how many sessions of programs a moved master has.
    `heard_s`: how long ago data last came from the server, None if it did not come over the master's own connection.
    `unsent`: since the probe at `probed_at`, ssh wrote nothing to the connection, and nothing is unacknowledged there.
    """

    name: str
    pid: int
    acked: int
    retransmit_in_s: float | None = None
    ahead: int = 0
    rtt_s: float | None = None
    now: Master | None = None
    adrift: bool = False
    stopped: bool = False
    probed_at: float | None = None
    unused: bool = False
    sessions: int = 0
    heard_s: float | None = None
    unsent: bool = False


class MasterUsed(Event, frozen=True):
    """The user's programs send data through the master again, after a time without use.

    `stalled`: the kernel sent data several times, and it was not acknowledged.
    """

    name: str
    pid: int
    stalled: bool = False


class AttemptEstablished(Event, frozen=True):
    """An attempt's TCP connection is established from `local` to `peer`, if known.

    `addresses` are those to which the name of the first hop leads. They are empty if ssh itself resolved the name.
    `mptcp` is how Multipath TCP went, None if it was not tried.
    """

    name: str
    attempt: int
    local: str | None = None
    peer: str | None = None
    addresses: frozenset[str] = frozenset()
    mptcp: Outcome | None = None


class MptcpChecked(Event, frozen=True):
    """Doctor's check made a Multipath TCP connection from `local` to a host's server, and closed it at once."""

    name: str
    outcome: Outcome
    local: str | None = None


class AttemptReady(Event, frozen=True):
    """An attempt succeeded: a new `master` listens, or the server answered a bare control (`master` None).

    `host_key` is the key that the server proved in this attempt, or None if it proved none. `trusted`: a bare
    control found a key that the user's known_hosts files accept for this server.
    """

    name: str
    attempt: int
    master: Master | None = None
    login: LoginKind = "quiet"
    host_key: str | None = None
    trusted: bool = False


class AttemptFailed(Event, frozen=True):
    """An attempt failed. `jitter` is a factor around 1 for the back-off.

    `host_key` is the key that the server proved in this attempt, or None if it proved none.
    """

    name: str
    attempt: int
    failure: Failure
    jitter: float = 1.0
    host_key: str | None = None


class AttemptCut(Event, frozen=True):
    """An attempt ended that the agent aborted. `failure` is set if the server may have refused its login.

    `host_key` is the key that the server proved in this attempt, or None if it proved none.
    """

    name: str
    attempt: int
    failure: Failure | None = None
    host_key: str | None = None


class TookOver(Event, frozen=True):
    """`master` now listens on the control path instead of the old master.

    `adopted`: another program started `master` there meanwhile, so the agent ended its own new master. If the old
    master drains, `drained` is the old master, and `draining` are its facts.
    """

    name: str
    attempt: int
    master: Master
    adopted: bool = False
    drained: Master | None = None
    draining: Draining | None = None


class DrainingFound(Event, frozen=True):
    """The agent found a living draining master of an earlier agent, or an ssh beside a master."""

    master: Master
    draining: Draining


class Carried(Event, frozen=True):
    """The agent counted what a draining master carries. `name` is the master's key in `State.hosts`."""

    name: str
    pid: int
    sessions: int
    connections: int


class TakeOverFailed(Event, frozen=True):
    """The new master could not take over the control path and was ended."""

    name: str
    attempt: int
    failure: Failure


class ForwardsChanged(Event, frozen=True):
    """The host's forwards on master `pid` are now `forwards`. `final` False: some requests are still in progress."""

    name: str
    pid: int
    forwards: tuple[ForwardState, ...]
    final: bool = True


class HandForwardsFound(Event, frozen=True):
    """The agent found forwards that clients of master `pid` requested (`opened`) or canceled (`closed`).

    Configured forwards may be among them. `unknown` are the addresses of further listening sockets whose targets the
    agent does not know, or None if it did not check.
    """

    name: str
    pid: int
    opened: tuple[ForwardState, ...] = ()
    closed: tuple[Forward, ...] = ()
    unknown: tuple[str, ...] | None = None


class RemoteCleanedUp(Event, frozen=True):
    """The agent searched the server for sessions of our dead connections. `outcome` reports what it did with them."""

    name: str
    outcome: Reaped


class TimerExpired(Event, frozen=True):
    """The time of a `SetTimer` action has come."""

    name: str


TrialVerdict = Literal["passed", "refused", "unknown", "skipped"]


class TrialEnded(Event, frozen=True):
    """A host's key trial ended. "unknown": it did not show whether the keys work. "skipped": no server was contacted.

    `failure` is set unless the trial passed or was skipped. `jitter` is a factor around 1 for a back-off. `host_key`
    is the key that the server proved.
    """

    name: str
    attempt: int
    verdict: TrialVerdict
    evidence: Evidence
    failure: Failure | None = None
    jitter: float = 1.0
    host_key: str | None = None


class AgentSocketUpdated(Event, frozen=True):
    """The agent tried to link the agent socket on the server. `problem` is set if that failed."""

    name: str
    pid: int
    evidence: Evidence
    problem: Problem | None = None


class ObstacleGone(Event, frozen=True):
    """An obstacle on this machine is gone: a program on the host's control path, or a missing directory."""

    name: str
