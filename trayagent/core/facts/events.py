"""What happened: the inputs of `decide`, in the past tense. `at` is monotonic seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trayagent.core.facts.failure import Failure, FailureKind
from trayagent.core.facts.hosts import ForwardState, Hop, LoginKind, Master, Place, Wish
from trayagent.core.facts.network import Snapshot, Touched
from trayagent.core.facts.network_manager import ManagerFacts
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.remote_sessions import Reaped
from trayagent.core.facts.resolved import Resolved


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened at a moment."""

    at: float


@dataclass(frozen=True, slots=True)
class NetworkRead(Event):
    """The network was read again, because something hinted at a change or new look-ups were needed."""

    snapshot: Snapshot
    touched: Touched = field(default_factory=Touched)


@dataclass(frozen=True, slots=True)
class Woke(Event):
    """The machine woke from sleep."""

    asleep_s: float | None = None


@dataclass(frozen=True, slots=True)
class Vpn:
    """A VPN as configured; `interface` is a glob, None where only the network manager can tell."""

    name: str
    interface: str | None
    networkmanager: str | None = None
    grace_s: float = 8.0


@dataclass(frozen=True, slots=True)
class Configured(Event):
    """The configuration was read: at start, or again."""

    wishes: Mapping[str, Wish]
    vpns: tuple[Vpn, ...] = ()
    adopt: bool = True
    keep_while_offline_s: float = 600.0
    learn_vpn: bool = True


@dataclass(frozen=True, slots=True)
class Started(Event):
    """The first look at the machine is over: living masters are known, so new ones may be made."""


@dataclass(frozen=True, slots=True)
class ManagerSaid(Event):
    """The network manager's picture of VPNs, names and the way to the internet is another one."""

    facts: ManagerFacts


@dataclass(frozen=True, slots=True)
class SignInFailed(Event):
    """A sign-in to a VPN that the user began here failed; `said` tells a person how."""

    vpn: str
    said: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The refused login that an earlier agent ended with; `retry_in_s` None: nothing is due."""

    kind: FailureKind
    problem: Problem
    retry_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Remembered(Event):
    """What an earlier agent kept about a host; `refused_ago_s` are the last refused logins.

    `vpn` and `networks` are those of its table, if it had one.
    `killing` are the pids of masters whose end it had begun, and perhaps did not live to see.
    `lost`: the host's master was up, and died while no agent ran; nobody asked for that.
    """

    name: str
    held: bool = False
    paused_for_s: float | None = None
    reached: frozenset[Place] = frozenset()
    learned_vpn: str | None = None
    addresses: tuple[str, ...] = ()
    login_worked_ago_s: float | None = None
    login: LoginKind = "quiet"
    host_key: str | None = None
    refused_ago_s: tuple[float, ...] = ()
    refusal: Refusal | None = None
    killing: frozenset[int] = frozenset()
    lost: bool = False
    vpn: str | None = None
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostResolved(Event):
    """`ssh -G` answered for a host; it was asked at `asked_at` (None: just now).

    `varies`: the answer may differ between networks. `looked_up`: ssh was allowed to look names up.
    """

    name: str
    resolved: Resolved
    hop: Hop | None = None
    asked_at: float | None = None
    varies: bool = False
    looked_up: bool = True


@dataclass(frozen=True, slots=True)
class ResolveFailed(Event):
    """`ssh -G` refused a host's name or the user's ssh configuration; `looked_up` as in HostResolved."""

    name: str
    failure: Failure
    looked_up: bool = True


@dataclass(frozen=True, slots=True)
class MasterFound(Event):
    """A living master was found on a control path.

    `stranger`: no alias's `ssh -G` yields that path. `fresh`: it has only just connected,
    so that its life is beyond doubt.
    """

    name: str
    master: Master
    unnamed: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class MasterEnded(Event):
    """A master's process is gone; `failure` is what it last said, `by_request` that it was asked to exit."""

    name: str
    pid: int
    failure: Failure | None = None
    by_request: bool = False


@dataclass(frozen=True, slots=True)
class ProbeAnswered(Event):
    """The probe of a master came back."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Observed(Event):
    """The kernel's view of the TCP connection that carries a master, its own or a transport's.

    `acked` counts the bytes that were sent after the probe and are acknowledged by now; `ahead` those that
    were queued before the probe and are not. `rtt_s` is the round trip of now, queues included.
    `now` is the master where the kernel moved its connection to other addresses. `adrift`: the kernel shows
    no connection of a process that lives, so it may be between two addresses.
    """

    name: str
    pid: int
    acked: int
    retransmit_in_s: float | None = None
    ahead: int = 0
    rtt_s: float | None = None
    now: Master | None = None
    adrift: bool = False


@dataclass(frozen=True, slots=True)
class AttemptEstablished(Event):
    """The TCP connection of an attempt stands, from the address `local` where that is known."""

    name: str
    attempt: int
    local: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptReady(Event):
    """An attempt is through: a new master listens (`master`), or a bare control was answered (None).

    `host_key` is what the server proved in this attempt, None where it proved nothing. `trusted`: a bare
    control's key is one that the user's known_hosts files accept for this server.
    """

    name: str
    attempt: int
    master: Master | None = None
    login: LoginKind = "quiet"
    host_key: str | None = None
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class AttemptFailed(Event):
    """An attempt ended without success; `jitter` is a factor around 1 for its back-off.

    `host_key` is what the server proved in this attempt, None where it proved nothing.
    """

    name: str
    attempt: int
    failure: Failure
    jitter: float = 1.0
    host_key: str | None = None


@dataclass(frozen=True, slots=True)
class TookOver(Event):
    """The new master listens on the control path; or, `adopted`, somebody else's does and ours was ended."""

    name: str
    attempt: int
    master: Master
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class TakeOverFailed(Event):
    """The new master could not be put in place and was ended."""

    name: str
    attempt: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class ForwardsChanged(Event):
    """The state of a host's forwards on master `pid`, all of them; not `final`: some are still being asked for."""

    name: str
    pid: int
    forwards: tuple[ForwardState, ...]
    final: bool = True


@dataclass(frozen=True, slots=True)
class FarSideReaped(Event):
    """What our own dead connections held on the server was looked for, and what came of it."""

    name: str
    outcome: Reaped


@dataclass(frozen=True, slots=True)
class TimeCame(Event):
    """The time that a `LookAt` named has come."""

    name: str


@dataclass(frozen=True, slots=True)
class UserReconnect(Event):
    """The user asked for a new connection."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoginBegun(Event):
    """A person begins to log in at a terminal; what ssh says of a host that nobody knows yet comes along."""

    name: str
    resolved: Resolved
    hop: Hop | None = None


@dataclass(frozen=True, slots=True)
class LoginGivenUp(Event):
    """The person at the terminal went away without an outcome."""

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class UserDisconnect(Event):
    """The user wants these down until asked otherwise."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserPause(Event):
    """The user wants trayagent's hands off; no names: everything. `for_s` None: until resumed."""

    names: tuple[str, ...] = ()
    for_s: float | None = None


@dataclass(frozen=True, slots=True)
class UserResume(Event):
    """The user ends a pause; no names: everything."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserLooked(Event):
    """The user looks (status, menu, attach): old proofs are asked for again."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CredentialsChanged(Event):
    """A key, certificate, agent or known_hosts file changed; no names: of any host."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeysChanged(Event):
    """The keys or certificates of these hosts are others than they were: not touched, changed."""

    names: tuple[str, ...]


TrialVerdict = Literal["passed", "refused", "unknown", "skipped"]


@dataclass(frozen=True, slots=True)
class TrialEnded(Event):
    """A trial of a host's keys is over; `unknown` says nothing about them, `skipped` bothered no server.

    `failure` is there unless it passed or was skipped, `jitter` a factor around 1 for a back-off. `host_key` is
    what the server proved.
    """

    name: str
    attempt: int
    verdict: TrialVerdict
    evidence: str
    failure: Failure | None = None
    jitter: float = 1.0
    host_key: str | None = None


@dataclass(frozen=True, slots=True)
class AgentSocketTold(Event):
    """The far side's link to the agent socket was seen to; `problem`: it could not be made."""

    name: str
    pid: int
    evidence: str
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class ObstacleGone(Event):
    """What stood in the host's way on this machine is gone: a program on its control path, a missing folder."""

    name: str
