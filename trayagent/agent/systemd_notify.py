"""Readiness notification to the service manager: sd_notify(3) without its library."""

from __future__ import annotations

import contextlib
import os
import socket

_ADDRESS = "NOTIFY_SOCKET"


class Readiness:
    """Notifies the service manager if that started the agent with Type=notify. Otherwise does nothing.

    The constructor removes the manager's address from the environment, because child processes must not use it.
    """

    def __init__(self) -> None:
        self._address = os.environ.pop(_ADDRESS, "")

    def ready(self) -> None:
        """Notify that the first scan is over, so that the agent's answers are true from now on."""
        self._notify("READY=1")

    def not_needed(self, why: str) -> None:
        """Notify that this agent ends at once, for the reason `why`, and that this is no failure."""
        self._notify(f"READY=1\nSTATUS={why}")

    def stopping(self) -> None:
        """Notify that the agent is ending."""
        self._notify("STOPPING=1")

    def _notify(self, words: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(words.encode(), address)
