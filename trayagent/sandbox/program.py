"""A program of `inside` that takes orders and gives answers as JSON lines."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from typing import Any

from trayagent.errors import TrayagentError
from trayagent.sandbox.node import Node
from trayagent.sandbox.world import close_streams, script

ANSWER_DEADLINE_S = 10.0


class Program:
    """One running program; `first` is the line with which it said that it is ready.

    Raises TrayagentError (sandbox-broken) when it ends or keeps silent instead of answering.
    """

    def __init__(self, node: Node, name: str, *args: str, admin: bool = False, greets: bool = True) -> None:
        self.name = name
        pipe = subprocess.PIPE
        self._child = node.popen(script(name, *args), admin=admin, stdin=pipe, stdout=pipe, stderr=pipe)
        self._rest = b""
        self.first: dict[str, Any] = self.answer() if greets else {}

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._child.pid

    def answer(self, deadline_s: float = ANSWER_DEADLINE_S) -> dict[str, Any]:
        """Return the next line that it prints."""
        assert self._child.stdout  # noqa: S101 - it was asked for
        descriptor, limit = self._child.stdout.fileno(), time.monotonic() + deadline_s
        while b"\n" not in self._rest:
            left = limit - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise TrayagentError(
                    f"{self.name} did not answer within {deadline_s:g} s", code="sandbox-broken"
                )
            chunk = os.read(descriptor, 65536)
            if not chunk:
                raise TrayagentError(f"{self.name} ended: {self._complaint()}", code="sandbox-broken")
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def tell(self, order: dict[str, Any]) -> None:
        """Send an order without waiting for the answer."""
        assert self._child.stdin  # noqa: S101 - it was asked for
        try:
            self._child.stdin.write(json.dumps(order) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise TrayagentError(f"{self.name} ended: {self._complaint()}", code="sandbox-broken") from None

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send an order and return the answer."""
        self.tell(order)
        return self.answer()

    def end(self) -> None:
        """End it at once and wait until it is gone."""
        self._child.kill()
        self._child.wait()
        close_streams(self._child)

    def _complaint(self) -> str:
        assert self._child.stderr  # noqa: S101 - it was asked for
        return (self._child.stderr.read().strip().splitlines() or ["without a word"])[-1]
