"""A stopwatch in a process of its own: when does a forward work again."""

from __future__ import annotations

from typing import Self

from trayagent.sandbox.inside_program import Program
from trayagent.sandbox.node import Node


class Probe:
    """Ready after construction, started by `release`; a context manager that ends its process."""

    def __init__(self, node: Node, port: int, address: str = "127.0.0.1") -> None:
        self._program = Program(node, "forward_stopwatch", address, str(port))

    def release(self) -> None:
        """Begin to try immediately."""
        self._program.tell({})

    def result(self, deadline_s: float = 30.0) -> float:
        """Return the monotonic time in s of the first echo. Raises TrayagentError (sandbox-broken)."""
        return float(self._program.answer(deadline_s)["at"])

    def end(self) -> None:
        """End the process."""
        self._program.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
