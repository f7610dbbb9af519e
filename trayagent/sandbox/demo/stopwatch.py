"""A stopwatch for a forward. Reading it does not block, so one loop can watch several."""

from __future__ import annotations

import os
from typing import Self

from trayagent.errors import TrayagentError
from trayagent.sandbox.inside_program import Program
from trayagent.sandbox.node import Node

GLANCE_S = 0.001


class Stopwatch:
    """A stopwatch that tries a forward after `release` until it answers; a context manager that ends its process."""

    def __init__(self, node: Node, port: int) -> None:
        self._program = Program(node, "forward_stopwatch", "127.0.0.1", str(port))
        self._at: float | None = None

    def release(self) -> None:
        """Start trying now."""
        self._program.tell({})

    def answered(self, wait_s: float = GLANCE_S) -> float | None:
        """Return the monotonic time of the first byte in seconds, or None if no byte has arrived yet.

        Raises TrayagentError (sandbox-broken) if the stopwatch's process has ended, because it could not
        report a byte.
        """
        if self._at is None:
            try:
                self._at = float(self._program.answer(wait_s)["at"])
            except TrayagentError:
                if self._has_ended():
                    raise
        return self._at

    def _has_ended(self) -> bool:
        try:
            # WNOWAIT leaves the exit status for Popen, which waits for it later.
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._program.pid, flags) is not None  # type: ignore[attr-defined, unused-ignore]  # Linux only
        except ChildProcessError:
            return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._program.end()
