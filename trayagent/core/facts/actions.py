"""The actions that `decide` returns, named in the imperative. The agent carries them out in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trayagent.core.facts.attempt import Purpose
from trayagent.core.facts.evidence import NO_EVIDENCE, Evidence
from trayagent.core.facts.masters import Master


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do for a host."""

    name: str


@dataclass(frozen=True, slots=True)
class SendProbe(Action):
    """Send a probe through the master's connection. ProbeAnswered follows, unless the master is silent.

    `large`: use packets that fill an MTU, in both directions, if the server can echo them. `second`: the sentinel did
    not answer, so request a forward that the server refuses. Any answer to that request proves life, too.
    """

    master: Master
    large: bool = False
    second: bool = False


@dataclass(frozen=True, slots=True)
class Observe(Action):
    """Query the kernel about the master's TCP connection. The event Observed reports the result at once.

    `probed_at` is when the last probe was sent. The event repeats that time.
    """

    master: Master
    probed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Dial(Action):
    """Start a new master on a temporary control path. The Attempt events report its progress.

    `background`: ssh goes to the background after the login, so the master is not a child of the agent. `address`:
    connect to this address of the server, whatever its name leads to.
    """

    attempt: int
    purpose: Purpose
    background: bool
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Redial(Action):
    """Open one more connection for an attempt that no server has answered. Attempt events report the progress."""

    attempt: int


@dataclass(frozen=True, slots=True)
class DialBare(Action):
    """Connect to a server and read only its banner. The Attempt events report the result."""

    attempt: int
    peer: str
    port: int


@dataclass(frozen=True, slots=True)
class Abort(Action):
    """End an attempt politely before it succeeds."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Discard(Action):
    """End a new master that is no longer needed."""

    master: Master


@dataclass(frozen=True, slots=True)
class TakeOver(Action):
    """Move the attempt's master to the control path and kill the old one. TookOver or TakeOverFailed follows.

    `drain`: the old master answers, so let its sessions continue. If it carries no session, kill it.
    """

    attempt: int
    master: Master
    old: Master | None
    drain: bool = False


@dataclass(frozen=True, slots=True)
class CountCarried(Action):
    """Count what a draining master still carries. The event Carried follows at once, unless the master is gone."""

    master: Master


@dataclass(frozen=True, slots=True)
class Kill(Action):
    """End a master: send TERMINATE through its control socket, then SIGKILL to it and its transport process.

    `gently`: before that, clean up what the master left on the server, such as its link to the ssh-agent.
    """

    master: Master
    gently: bool = False


@dataclass(frozen=True, slots=True)
class EnsureForwards(Action):
    """Make the master's forwards match the wanted ones. The event ForwardsChanged reports the result."""

    master: Master


@dataclass(frozen=True, slots=True)
class TryKeys(Action):
    """Check beside the living master whether the server still accepts our login. The event TrialEnded follows."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Resolve(Action):
    """Run `ssh -G` again. HostResolved or ResolveFailed follows.

    `lookups`: ssh may query DNS. It does so only with CanonicalizeHostname.
    """

    lookups: bool = False


@dataclass(frozen=True, slots=True)
class SetTimer(Action):
    """Set the host's only timer: TimerExpired follows at the time `at` (monotonic seconds). None cancels the timer."""

    at: float | None


@dataclass(frozen=True, slots=True)
class Publish(Action):
    """Send an event, one of config.model.EVENTS, to clients and hooks. If `name` is "", the event concerns no host.

    `reason` is a text for users. If it is empty, the evidence is the reason.
    """

    event: str
    evidence: Evidence = NO_EVIDENCE
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remember(Action):
    """Store what a later agent must know about this host."""


@dataclass(frozen=True, slots=True)
class BeginRoaming(Action):
    """Start an inner master through this plain master, and swap the control paths of the two.

    RoamingBegan or RoamingNotPossible follows.
    """

    master: Master


@dataclass(frozen=True, slots=True)
class AttachRoaming(Action):
    """Connect the inner master's link through a new outer master.

    RoamingAttached, RoamingAttachFailed or RoamingEnded follows.
    """

    master: Master


@dataclass(frozen=True, slots=True)
class EndRoaming(Action):
    """End the inner master `pid` and its far relay on the server. RoamingEnded follows."""

    pid: int


@dataclass(frozen=True, slots=True)
class RestorePath(Action):
    """Move a former outer master to the user's control path. MasterMoved follows."""

    master: Master
