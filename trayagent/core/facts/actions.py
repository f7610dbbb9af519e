"""The actions that `decide` returns, named in the imperative. The agent carries them out in order."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from trayagent.core.facts.attempt import Purpose
from trayagent.core.facts.evidence import NO_EVIDENCE, Evidence
from trayagent.core.facts.masters import Master
from trayagent.core.facts.mptcp import MptcpTry


class Action(Struct, frozen=True):
    """Something to do for a host."""

    name: str


class SendProbe(Action, frozen=True):
    """Send a probe through the master's connection. ProbeAnswered follows, unless the master is silent.

    `large`: use packets that fill an MTU, in both directions, if the server can echo them. `second`: the sentinel did
    not answer, so request a forward that the server refuses. Any answer to that request proves life, too.
    """

    master: Master
    large: bool = False
    second: bool = False


class Observe(Action, frozen=True):
    """Query the kernel about the master's TCP connection. The event Observed reports the result at once.

    `probed_at` is when the last probe was sent. The event repeats that time.
    """

    master: Master
    probed_at: float | None = None


class Dial(Action, frozen=True):
    """Start a new master on a temporary control path. The Attempt events report its progress.

    `background`: ssh goes to the background after the login, so the master is not a child of the agent. `address`:
    connect to this address of the server, whatever its name leads to. `mptcp`: use Multipath TCP in this way.
    `interface`: only through this interface.
    """

    attempt: int
    purpose: Purpose
    background: bool
    address: str | None = None
    mptcp: MptcpTry | None = None
    interface: str | None = None


class Redial(Action, frozen=True):
    """Open one more connection for an attempt that no server has answered. Attempt events report the progress."""

    attempt: int


class DialBare(Action, frozen=True):
    """Exchange keys with a server, but do not log in. The Attempt events report the result.

    `banner`: end at the server's banner, which takes half as long and proves no host key.
    """

    attempt: int
    peer: str
    port: int
    banner: bool = False


class Abort(Action, frozen=True):
    """End an attempt politely before it succeeds. AttemptCut follows, or an event that was already on its way.

    `lost`: its local address is gone, so no answer can arrive any more. `silently`: as for `Discard`.
    """

    attempt: int
    lost: bool = False
    silently: bool = False


class Discard(Action, frozen=True):
    """End a new master that is no longer needed.

    `silently`: send nothing to its server, because a packet beside a tunnel is not allowed.
    """

    master: Master
    silently: bool = False


class Mute(Action, frozen=True):
    """Keep the kernel from sending packets of a master that is bound to an interface, or let it send again."""

    master: Master
    muted: bool


class TakeOver(Action, frozen=True):
    """Move the attempt's master to the control path and kill the old one. TookOver or TakeOverFailed follows.

    `drain`: the old master answers, so let its sessions continue. If it carries no session, kill it.
    """

    attempt: int
    master: Master
    old: Master | None
    drain: bool = False


class CountCarried(Action, frozen=True):
    """Count what a draining master still carries. The event Carried follows at once, unless the master is gone."""

    master: Master


class Kill(Action, frozen=True):
    """End a master: send TERMINATE through its control socket, then SIGKILL to it and its transport process.

    `gently`: before that, clean up what the master left on the server, such as its link to the ssh-agent.
    """

    master: Master
    gently: bool = False


class EnsureForwards(Action, frozen=True):
    """Make the master's forwards match the wanted ones. The event ForwardsChanged reports the result."""

    master: Master


class TryKeys(Action, frozen=True):
    """Check beside the living master whether the server still accepts our login. The event TrialEnded follows."""

    attempt: int


class Resolve(Action, frozen=True):
    """Run `ssh -G` again. HostResolved or ResolveFailed follows.

    `lookups`: ssh may query DNS. It does so only with CanonicalizeHostname.
    """

    lookups: bool = False


class SetTimer(Action, frozen=True):
    """Set the host's only timer: TimerExpired follows at the time `at` (monotonic seconds). None cancels the timer."""

    at: float | None


class ReadNetwork(Action, frozen=True):
    """Read the network again, because this host waits for what the kernel does not report. NetworkRead follows."""


class Publish(Action, frozen=True):
    """Send an event, one of config.model.EVENTS, to clients and hooks. If `name` is "", the event concerns no host.

    `reason` is a text for users. If it is empty, the evidence is the reason.
    """

    event: str
    evidence: Evidence = NO_EVIDENCE
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


class Remember(Action, frozen=True):
    """Store what a later agent must know about this host."""


class BeginRoaming(Action, frozen=True):
    """Start an inner master through this plain master, and swap the control paths of the two.

    RoamingBegan or RoamingNotPossible follows.
    """

    master: Master


class AttachByPort(Action, frozen=True):
    """Move the inner master's link to the far relay's TCP port at this address.

    RoamingAttachedByPort or RoamingPortFailed follows, neither if another attach comes first.
    """

    address: str
    port: int


class AttachRoaming(Action, frozen=True):
    """Connect the inner master's link through a new outer master.

    RoamingAttached, RoamingAttachFailed or RoamingEnded follows.
    """

    master: Master


class EndRoaming(Action, frozen=True):
    """End the inner master `pid` and its far relay on the server. RoamingEnded follows."""

    pid: int


class RestorePath(Action, frozen=True):
    """Move a former outer master to the user's control path. MasterMoved follows."""

    master: Master
