"""A person at a terminal: a command with a real controlling terminal, what it shows, and what is typed."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from trayagent.sandbox import Node
from trayagent.sandbox.tools import tool

DEADLINE_S = 20.0
_POLL_S = 0.02


class AtTerminal:
    """Runs a command at a terminal of its own; a context manager that closes the terminal.

    `shown` is everything that was on the screen.
    """

    def __init__(self, node: Node, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._master, slave = os.openpty()
        words = [tool("setsid"), "--ctty", "--wait", *command]
        self._child = node.popen(words, env=env, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.shown = ""
        self._read_to = 0

    def expect(self, text: str, deadline_s: float = DEADLINE_S) -> str:
        """Wait until the text is shown, after what was waited for before; return all up to there."""
        limit = time.monotonic() + deadline_s
        while (found := self.shown.find(text, self._read_to)) < 0:
            if not self._read(limit):
                raise AssertionError(f"{text!r} was not shown; this was: {self.shown!r}")
        begin, self._read_to = self._read_to, found + len(text)
        return self.shown[begin : self._read_to]

    def enter(self, text: str) -> None:
        """Type something."""
        os.write(self._master, text.encode())

    def answer(self, prompt: str, text: str) -> None:
        """Wait for a prompt and answer it with a line."""
        self.expect(prompt)
        self.enter(f"{text}\n")

    def interrupt(self, deadline_s: float = DEADLINE_S) -> int:
        """Press Ctrl-C until it has ended, and return its exit status.

        One that comes between ssh's prompt and its read(2) is lost (readpassphrase.c); no person is that quick.
        """
        limit = time.monotonic() + deadline_s
        while self._child.poll() is None and time.monotonic() < limit:
            self.enter("\x03")
            again = time.monotonic() + 3.0  # a second one would be for the command, no longer for ssh
            while self._child.poll() is None and time.monotonic() < again:
                self._read(time.monotonic() + _POLL_S)
        return self.ended()

    def ended(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for the command's end, and return its exit status; the terminal may have other users still."""
        limit = time.monotonic() + deadline_s
        while (status := self._child.poll()) is None and time.monotonic() < limit:
            self._read(time.monotonic() + _POLL_S)
        while self._read(time.monotonic()):
            pass
        assert status is not None, f"it has not ended; this was shown: {self.shown!r}"
        return status

    def close(self) -> None:
        """Close the terminal, as by a click on its window."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def _read(self, limit: float) -> bool:
        """Take in what is shown next; report whether there was something."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, limit - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 4096)
        except OSError:  # everybody has closed the other side
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(5)
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
