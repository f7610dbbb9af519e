"""The desktop's leave to come to the front: a token that a click gave, handed to what the click starts.

Without it a Wayland compositor opens the window behind the others. Source: the XDG Activation protocol,
StatusNotifierItem's ProvideXdgActivationToken, Desktop Notifications Specification 1.2 (ActivationToken).
"""

from __future__ import annotations

from collections.abc import Mapping

VARIABLE = "XDG_ACTIVATION_TOKEN"


class Activation:
    """Keeps the last token until something is started with it; it is good for one."""

    def __init__(self) -> None:
        self._token = ""

    def given(self, token: str) -> None:
        """Keep the token of a click."""
        self._token = token

    def lay_over(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the environment with the token, and forget it; one that we were started with is used up."""
        token, self._token = self._token, ""
        rest = {name: value for name, value in env.items() if name != VARIABLE}
        return {**rest, VARIABLE: token} if token else rest
