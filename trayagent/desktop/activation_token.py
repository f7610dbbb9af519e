"""Passes the activation token of a click to the program that the click starts.

Without the token a Wayland compositor opens the new window behind the others. A compositor that gave a token shows
that something starts, until a window appears: GNOME shows a spinning pointer for 15 s. So if a click opens no window,
the panel has to learn that its token was not used. Source: the XDG Activation protocol, StatusNotifierItem's
ProvideXdgActivationToken, Desktop Notifications Specification 1.2 (ActivationToken).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

VARIABLE = "XDG_ACTIVATION_TOKEN"

DECIDED_S = 0.2
"""A panel sends the choice in its menu right after the token. Some wait for the answer to the token first."""


class Activation:
    """Keeps the last token until a program is started with it; a token is valid once."""

    def __init__(self) -> None:
        self._token = ""
        self._used: asyncio.Future[bool] | None = None

    def given(self, token: str) -> None:
        """Keep the token of a click."""
        self._settle(used=False)
        self._token = token

    async def is_used(self) -> bool:
        """Report whether a program may use the present token. Waits until the choice is known, but not for long."""
        if not self._token:
            return False
        self._used = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(DECIDED_S):
                return await self._used
        except TimeoutError:
            return True  # the choice comes later

    def lay_over(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the environment with the token, and forget the token.

        A token in `env` itself is used up and removed.
        """
        token, self._token = self._token, ""
        self._settle(used=True)
        rest = {name: value for name, value in env.items() if name != VARIABLE}
        return {**rest, VARIABLE: token} if token else rest

    def drop(self) -> None:
        """Forget the token, because the choice opens no window."""
        self._token = ""
        self._settle(used=False)

    def _settle(self, *, used: bool) -> None:
        if self._used is not None and not self._used.done():
            self._used.set_result(used)
        self._used = None
