"""The connections that the near relay carries, and the clients that watch their events."""

from __future__ import annotations

import os

from trayagent.roaming.far_relay_and_resend_buffer import Budget, Loop
from trayagent.roaming.near_session import NearSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Protocol

    class Watcher(Protocol):
        """A client of the relay. It gets the events if `watches` is set."""

        watches: bool

        def send(self, words: dict[str, Any], fd: int | None = None) -> None:
            """Send a JSON object. If `fd` is given, pass this descriptor with it."""


ENDED_MAX = 32  # keep this many ended connections, for an agent that was not running when they ended


class Connections:
    """The near relay's connections by id, and those that ended."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.budget = Budget()
        self.sessions: dict[str, NearSession] = {}
        self.clients: list[Watcher] = []
        self.ended: list[dict[str, Any]] = []
        self.instance = os.urandom(8).hex()
        self.leaving = False

    def open_session(self, order: dict[str, Any]) -> socket.socket:
        """Begin a connection; return the socket to pass to its ssh."""
        session = self.sessions[order["id"]] = NearSession(self.loop, self.budget, order, self.tell)
        return session.open()

    def tell(self, event: dict[str, Any]) -> None:
        """Send an event to the clients that watch events. Forget the connection if the event is its end."""
        if event["event"] == "ended":
            self.sessions.pop(event["id"], None)
            self.ended = [*self.ended, event][-ENDED_MAX:]
        for client in list(self.clients):
            if client.watches:
                client.send(event)
