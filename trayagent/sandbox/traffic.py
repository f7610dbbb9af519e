"""Continuous traffic: an upload or a download through a session or a forward, and how much of it arrived."""

from __future__ import annotations

import time
from typing import Literal, Self

from trayagent.errors import TrayagentError
from trayagent.sandbox.inside_program import Program
from trayagent.sandbox.namespaces import script
from trayagent.sandbox.node import Node

Direction = Literal["up", "down"]
POLL_S = 0.02


class Traffic:
    """Traffic that flows until `end`, as fast as the line allows or at a fixed rate; a context manager.

    The receiving end counts the bytes. For an upload that is the server, which reports back.
    """

    def __init__(self, node: Node, direction: Direction, *words: str) -> None:
        self._program = Program(node, "traffic", "near", direction, *words)

    @classmethod
    def in_session(cls, node: Node, direction: Direction, host: str) -> Self:
        """Return traffic through a session that `ssh HOST` opens."""
        return cls(node, direction, "session", "ssh", host, *script("traffic", "far", direction))

    @classmethod
    def in_forward(cls, node: Node, direction: Direction, port: int) -> Self:
        """Return traffic through a forward that listens on that port and leads to a `traffic_service`."""
        return cls(node, direction, "port", "127.0.0.1", str(port))

    def pace(self, bytes_s: float | None) -> None:
        """Limit an upload to this many bytes per second; None removes the limit."""
        self._program.ask({"rate": bytes_s})

    @property
    def arrived(self) -> int:
        """How many bytes have arrived so far."""
        return int(self._program.ask({})["bytes"])

    @property
    def ended(self) -> str | None:
        """How the traffic ended ("status 255" or an error), or None while it flows."""
        ended: str | None = self._program.ask({})["ended"]
        return ended

    def wait(self, more: int = 1, *, deadline_s: float = 20.0) -> int:
        """Wait until `more` additional bytes have arrived. Return how many have arrived in total.

        Raises TrayagentError (sandbox-broken).
        """
        limit, wanted = time.monotonic() + deadline_s, self.arrived + more
        while (arrived := self.arrived) < wanted:
            ended = self.ended
            if ended is not None or time.monotonic() > limit:
                what = f"{wanted - arrived} bytes of {more} did not arrive: {ended or 'too slow'}"
                raise TrayagentError(what, code="sandbox-broken")
            time.sleep(POLL_S)
        return arrived

    def end(self) -> None:
        """End the traffic, and the session that it ran in."""
        self._program.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
