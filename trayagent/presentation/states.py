"""Define the words and signs of states for all output, and sets of states that belong together; pure.

docs/troubleshooting.md explains what each state means and what to do.
"""

from __future__ import annotations

from trayagent.presentation.translation import _, to_translate

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

WORDS: Mapping[str, str] = {
    "connected": to_translate("connected"),
    "checking": to_translate("checking"),
    "connecting": to_translate("connecting"),
    "waiting": to_translate("waiting"),
    "offline": to_translate("offline"),
    "needs-vpn": to_translate("needs VPN"),
    "needs-sign-in": to_translate("needs sign-in"),
    "failed": to_translate("failed"),
    "paused": to_translate("paused"),
    "idle": to_translate("idle"),
}
"""The words for the states of hosts."""
OTHER_WORDS: Mapping[str, str] = {
    "open": to_translate("open"),
    "opening": to_translate("opening"),
    "closed": to_translate("closed"),
    "up": to_translate("up"),
    "down": to_translate("down"),
}
"""The words for the states of forwards and VPNs that no host has."""

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
    words = WORDS.get(state) or OTHER_WORDS.get(state)
    return _(words) if words else state


def words_of(host: Mapping[str, Any]) -> str:
    """Return a host's state in words, with details that the user should know; `host` comes from `status --json`."""
    if host["state"] == "idle" and host.get("held"):
        return _("disconnected by you")
    if host["state"] == "paused" and host["pid"] is not None:
        return _("paused, still connected")
    if host["state"] == "connected" and host.get("roaming") is not None:
        by_port = host["roaming"].get("by") == "port"
        return _("connected · roams (port)") if by_port else _("connected · roams")
    return word(host["state"])


def sign(state: str, signs: Mapping[str, str] = SIGNS) -> str:
    """Return a state's sign, "?" for a state that only a newer agent knows."""
    return signs.get(state, "?")
