"""Why an ssh came to nothing: the problem for a person, the kind for the decision; pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trayagent.core.facts.problems import Problem

FailureKind = Literal[
    "auth",
    "too-many-keys",
    "key-file",
    "passphrase",
    "host-key-changed",
    "host-key-unknown",
    "dns",
    "refused",
    "unreachable",
    "timed-out",
    "stalled",
    "negotiation",
    "dropped",
    "disconnected",
    "booting",
    "jump",
    "proxy-command",
    "proxy-login",
    "forward",
    "config",
    "ssh-missing",
    "died",
    "control-path",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt, or the end of a master.

    `positive`: a key exchange was finished before this could be said, so it is the word of whoever holds
    that host key. `by_jump`: a jump host, or what stands in for one, said it.
    """

    problem: Problem
    kind: FailureKind
    positive: bool = False
    by_jump: bool = False
