"""A stopwatch, in its own process, that measures when a forward works again."""

from __future__ import annotations

from typing import Self

from trayagent.sandbox.inside_program import Program
from trayagent.sandbox.node import Node


class Probe:
    """A stopwatch, ready after construction and started by `release`; a context manager that ends its process."""

    def __init__(self, node: Node, port: int, address: str = "127.0.0.1") -> None:
        self._program = Program(node, "forward_stopwatch", address, str(port))

    def release(self) -> None:
        """Start trying now."""
        self._program.tell({})

    def result(self, deadline_s: float = 30.0) -> float:
        """Return the monotonic time of the first echo in seconds.

        Raises TrayagentError (sandbox-broken) if none came in time.
        """
        return float(self._program.answer(deadline_s)["at"])

    def end(self) -> None:
        """End the process."""
        self._program.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
