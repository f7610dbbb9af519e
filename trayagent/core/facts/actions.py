"""What to do: the outputs of `decide`, in the imperative. The agent carries them out in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trayagent.core.facts.hosts import Master, Purpose


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do for a host."""

    name: str


@dataclass(frozen=True, slots=True)
class SendProbe(Action):
    """Ask the master's far end for a sign of life; answered by ProbeAnswered, or by silence.

    `large`: with packets that fill an MTU, both ways, where the far end can echo them.
    """

    master: Master
    large: bool = False


@dataclass(frozen=True, slots=True)
class Observe(Action):
    """Ask the kernel about the master's TCP connection; answered by Observed, at once."""

    master: Master


@dataclass(frozen=True, slots=True)
class Dial(Action):
    """Start a new master beside the control path; answered by the Attempt events."""

    attempt: int
    purpose: Purpose
    background: bool


@dataclass(frozen=True, slots=True)
class Redial(Action):
    """Begin one more connection of an attempt that nothing has answered; answered by its Attempt events."""

    attempt: int


@dataclass(frozen=True, slots=True)
class DialBare(Action):
    """Connect to a server and read its banner, no more; answered by the Attempt events."""

    attempt: int
    peer: str
    port: int


@dataclass(frozen=True, slots=True)
class Abort(Action):
    """End an attempt that is not through, politely."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Discard(Action):
    """End a new master that nobody needs."""

    master: Master


@dataclass(frozen=True, slots=True)
class TakeOver(Action):
    """Put the attempt's master on the control path and kill the old one; answered by TookOver or TakeOverFailed."""

    attempt: int
    master: Master
    old: Master | None


@dataclass(frozen=True, slots=True)
class Kill(Action):
    """End a master: TERMINATE, then SIGKILL it and its transport child."""

    master: Master
    gently: bool = False


@dataclass(frozen=True, slots=True)
class EnsureForwards(Action):
    """Make the master's forwards those that are wanted; answered by ForwardsChanged."""

    master: Master


@dataclass(frozen=True, slots=True)
class TryKeys(Action):
    """Ask the server, beside the living master, whether it would still let us in; answered by TrialEnded."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Resolve(Action):
    """Run `ssh -G` again; answered by HostResolved or ResolveFailed.

    `lookups`: it may look names up, which it does with CanonicalizeHostname.
    """

    lookups: bool = False


@dataclass(frozen=True, slots=True)
class LookAt(Action):
    """Come back at a time (monotonic seconds), None: no need; replaces the earlier one of this host."""

    at: float | None


@dataclass(frozen=True, slots=True)
class Tell(Action):
    """Let the world know: one of config.model.EVENTS; `name` "" is no host."""

    event: str
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remember(Action):
    """Keep what a later agent must know of this host."""
