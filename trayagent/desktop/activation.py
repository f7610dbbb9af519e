"""Passes the activation token of a click to the program that the click starts.

Without the token a Wayland compositor opens the new window behind the others. Source: the XDG Activation protocol,
StatusNotifierItem's ProvideXdgActivationToken, Desktop Notifications Specification 1.2 (ActivationToken).
"""

from __future__ import annotations

from collections.abc import Mapping

VARIABLE = "XDG_ACTIVATION_TOKEN"


class Activation:
    """Keeps the last token until a program is started with it; a token is valid once."""

    def __init__(self) -> None:
        self._token = ""

    def given(self, token: str) -> None:
        """Keep the token of a click."""
        self._token = token

    def lay_over(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the environment with the token, and forget the token.

        A token in `env` itself is used up and removed.
        """
        token, self._token = self._token, ""
        rest = {name: value for name, value in env.items() if name != VARIABLE}
        return {**rest, VARIABLE: token} if token else rest
