"""Define the words and signs of states for all output, and sets of states that belong together; pure.

docs/troubleshooting.md explains what each state means and what to do.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

WORDS: Mapping[str, str] = {"needs-vpn": "needs VPN", "needs-sign-in": "needs sign-in"}
"""Words for states whose names have a hyphen. For every other state, the word is its name."""

# A sign differs in shape, not only in colour. The plain signs are for terminals without UTF-8.
SIGNS: Mapping[str, str] = {
    "connected": "●",
    "checking": "◌",
    "connecting": "◐",
    "waiting": "↻",
    "offline": "○",
    "needs-vpn": "◇",
    "needs-sign-in": "▲",
    "failed": "✗",
    "paused": "‖",
    "idle": "–",  # noqa: RUF001  # a dash as wide as the other signs
    "open": "●",
    "opening": "◐",
    "closed": "○",
    "well": "✓",
    "separator": "·",
    "more": "…",
}
PLAIN_SIGNS: Mapping[str, str] = {
    "connected": "*",
    "checking": "?",
    "connecting": "~",
    "waiting": "@",
    "offline": "o",
    "needs-vpn": "v",
    "needs-sign-in": "!",
    "failed": "x",
    "paused": "=",
    "idle": "-",
    "open": "*",
    "opening": "~",
    "closed": "o",
    "well": "+",
    "separator": "-",
    "more": "...",
}

NOT_WANTED = frozenset({"idle", "paused"})
"""These hosts need not be connected, so they count neither as connected nor as missing."""
NEEDS_USER = frozenset({"needs-sign-in", "failed"})
"""Only the user, or something that the user changes, can end these states."""
WORKING = frozenset({"checking", "connecting"})
"""The agent is working and does not need the user."""
AWAY = frozenset({"offline", "needs-vpn"})
"""There is no route to the host, so nothing is sent."""


def word(state: str) -> str:
    """Return the word for a state of a host, a VPN or a forward."""
    return WORDS.get(state, state)


def words_of(host: Mapping[str, Any]) -> str:
    """Return a host's state in words, with details that the user should know; `host` comes from `status --json`."""
    if host["state"] == "idle" and host.get("held"):
        return "disconnected by you"
    if host["state"] == "paused" and host["pid"] is not None:
        return "paused, still connected"
    if host["state"] == "connected" and host.get("roaming") is not None:
        return "connected · roams"
    return word(host["state"])


def sign(state: str, signs: Mapping[str, str] = SIGNS) -> str:
    """Return a state's sign, "?" for a state that only a newer agent knows."""
    return signs.get(state, "?")
