"""Why ssh failed: the problem to show to the user, and the kind on which decisions depend; pure data."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from trayagent.core.facts.problems import Problem

FailureKind = Literal[
    "auth",
    "too-many-keys",
    "key-file",
    "passphrase",
    "certificate",
    "host-key-changed",
    "host-key-unknown",
    "host-certificate",
    "other-address",
    "dns",
    "refused",
    "unreachable",
    "timed-out",
    "stalled",
    "negotiation",
    "dropped",
    "closed",
    "disconnected",
    "booting",
    "jump",
    "proxy-command",
    "proxy-login",
    "forward",
    "config",
    "ssh-missing",
    "unwritable",
    "died",
    "control-path",
    "unknown",
]


class Failure(Struct, frozen=True):
    """One failed attempt, or the end of a master.

    `positive`: the failure came after a finished key exchange, so the machine that proved its host key sent it.
    `perhaps_refused`: the server proved its host key and then ended the login without a message.
    `by_jump`: the answer came from a jump host, or from a command that replaces one.
    """

    problem: Problem
    kind: FailureKind
    positive: bool = False
    by_jump: bool = False
    perhaps_refused: bool = False
