"""A program in `inside` that reads orders and writes answers as JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from typing import Any

from trayagent.errors import TrayagentError
from trayagent.sandbox.namespaces import close_streams, script
from trayagent.sandbox.node import Node

ANSWER_DEADLINE_S = 30.0


class Lines:
    """The JSON lines that a child prints, each with a deadline.

    Raises TrayagentError (sandbox-broken) if the child ends or prints nothing.
    """

    def __init__(self, name: str, child: subprocess.Popen[str]) -> None:
        self._name = name
        self._child = child
        self._rest = b""

    def next(self, deadline_s: float) -> dict[str, Any]:
        """Return the next line."""
        assert self._child.stdout  # noqa: S101 - it is a pipe
        descriptor, limit = self._child.stdout.fileno(), time.monotonic() + deadline_s
        while b"\n" not in self._rest:
            left = limit - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                what = f"{self._name} printed nothing within {deadline_s:g} s"
                raise TrayagentError(what, code="sandbox-broken")
            chunk = os.read(descriptor, 65536)
            if not chunk:
                raise self.ended()
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        found: dict[str, Any] = json.loads(line)
        return found

    def ended(self) -> TrayagentError:
        """Return an error with the last line on stderr of a child that ended."""
        output = self._child.stderr.read().strip() if self._child.stderr else ""
        last = (output.splitlines() or ["no message"])[-1]
        return TrayagentError(f"{self._name} ended: {last}", code="sandbox-broken")


class Program:
    """One running program. `first` is the line that reported that the program was ready.

    Raises TrayagentError (sandbox-broken) if the program ends or stays silent instead of answering.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        *args: str,
        admin: bool = False,
        greets: bool = True,
        python: str = sys.executable,
        inline: bool = False,
    ) -> None:
        pipe = subprocess.PIPE
        self._child = node.popen(
            script(name, *args, python=python, inline=inline),
            admin=admin,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        self._lines = Lines(name, self._child)
        self.first: dict[str, Any] = self.answer() if greets else {}

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._child.pid

    def answer(self, deadline_s: float = ANSWER_DEADLINE_S) -> dict[str, Any]:
        """Return the next line that the program prints."""
        return self._lines.next(deadline_s)

    def tell(self, order: dict[str, Any]) -> None:
        """Send an order without waiting for the answer."""
        assert self._child.stdin  # noqa: S101 - it is a pipe
        try:
            self._child.stdin.write(json.dumps(order) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise self._lines.ended() from None

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send an order and return the answer."""
        self.tell(order)
        return self.answer()

    def close(self) -> None:
        """Close the program's input, so that it ends itself and everything that it started."""
        assert self._child.stdin  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(ANSWER_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        close_streams(self._child)

    def end(self) -> None:
        """Kill the program, and wait until it is gone."""
        self._child.kill()
        self._child.wait()
        close_streams(self._child)
