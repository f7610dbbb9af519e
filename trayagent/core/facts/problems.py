"""The problems that a host can have: a text for the user and a stable code for scripts.

Scripts may rely on the codes and on the three JSON keys: see docs/scripting.md.
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

Code = Literal[
    "auth-denied",
    "passphrase-needed",
    "too-many-auth-failures",
    "host-key-changed",
    "host-key-unknown",
    "host-certificate",
    "name-not-found",
    "refused",
    "login-closed",
    "unreachable",
    "timed-out",
    "large-packets-lost",
    "no-common-algorithm",
    "jump-host-failed",
    "forward-failed",
    "control-path-too-long",
    "control-path-taken",
    "captive-portal",
    "network-not-allowed",
    "not-here",
    "other-machine",
    "no-python",
    "relay-unreachable",
    "ssh-missing",
    "disk-full",
    "config-error",
    "vpn-down",
    "vpn-needs-sign-in",
    "rate-limited",
    "suspended",
    "unknown",
]
CODES: tuple[Code, ...] = get_args(Code)


class Problem(Struct, frozen=True):
    """What is wrong (`title`) and what to do next (`hint`, empty if nothing needs to be done)."""

    code: Code
    title: str
    hint: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the object that `status --json` shows."""
        return {"code": self.code, "title": self.title, "hint": self.hint}
