"""Telling the service manager how far the agent is: sd_notify(3), without its library."""

from __future__ import annotations

import contextlib
import os
import socket

_ADDRESS = "NOTIFY_SOCKET"


class Readiness:
    """Speaks to whoever started us with Type=notify; nobody did: it does nothing.

    The address is taken out of the environment, since it is not meant for the programs that we start.
    """

    def __init__(self) -> None:
        self._address = os.environ.pop(_ADDRESS, "")

    def ready(self) -> None:
        """The first look is over: what the agent says is true from now on."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The agent is ending."""
        self._tell("STOPPING=1")

    def _tell(self, words: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(words.encode(), address)
