"""Passes the activation token of a click to the program that the click starts.

Without the token a Wayland compositor opens the new window behind the others. A compositor that has given a token shows
that a program is starting, until a window appears. For example, GNOME shows a spinning pointer for 15 s. So if a click
opens no window, the agent reports to the panel that the token was not used. Source: the XDG Activation protocol,
StatusNotifierItem's ProvideXdgActivationToken, Desktop Notifications Specification 1.2 (ActivationToken).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

VARIABLE = "XDG_ACTIVATION_TOKEN"

DECIDED_S = 0.2
"""How long to wait for the choice. Most panels send the chosen menu item right after the token.

Some panels wait for the answer to the token first.
"""


class Activation:
    """Keeps the last token until a program is started with that token. A token is valid once."""

    def __init__(self) -> None:
        self._token = ""
        self._used: asyncio.Future[bool] | None = None

    def given(self, token: str) -> None:
        """Keep the token of a click."""
        self._settle(used=False)
        self._token = token

    async def is_used(self) -> bool:
        """Report whether a program may use the token. It may not if the choice opens no window, or without a token.

        Waits for the choice for `DECIDED_S` at most.
        """
        if not self._token:
            return False
        self._used = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(DECIDED_S):
                return await self._used
        except TimeoutError:
            return True  # the choice comes later, perhaps because the panel waits for this answer

    def lay_over(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return a copy of the environment with the token, and forget the token.

        A token that `env` already has is used up, so it is removed.
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
