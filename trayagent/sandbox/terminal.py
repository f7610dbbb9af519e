"""A user at a terminal in the laboratory: runs a command on a terminal, reads its output, and types the input."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from trayagent.errors import TrayagentError
from trayagent.sandbox.namespaces import script
from trayagent.sandbox.node import Node

DEADLINE_S = 20.0
ROWS, COLUMNS = 24, 80
_LOOK_S = 0.02


class Terminal:
    """A new terminal and the command that runs on it; a context manager that closes the terminal.

    `shown` is all output so far, including escape sequences. `pid` is the pid of the command. Raises
    TrayagentError (sandbox-broken), which contains the output that came instead.
    """

    def __init__(self, node: Node, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._master, slave = os.openpty()
        self.resize(ROWS, COLUMNS)
        self.modes_before = self.modes()
        self._child = node.popen(
            script("on_terminal", *command),
            env={"TERM": "xterm-256color", **env},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.pid = self._child.pid
        self.shown = ""
        self._read_to = 0

    def expect(self, text: str, deadline_s: float = DEADLINE_S) -> str:
        """Wait until the text appears after the last expected text; return everything up to its end."""
        limit = time.monotonic() + deadline_s
        while (found := self.shown.find(text, self._read_to)) < 0:
            if not self._read(limit):
                what = f"{text!r} was not shown within {deadline_s:g} s"
                raise TrayagentError(what, code="sandbox-broken", hint=repr(self.shown[self._read_to :]))
        begin, self._read_to = self._read_to, found + len(text)
        return self.shown[begin : self._read_to]

    def when(self, text: str, deadline_s: float = DEADLINE_S) -> float:
        """Return the monotonic time in seconds when the text appeared."""
        self.expect(text, deadline_s)
        return time.monotonic()

    def drain(self, quiet_s: float = 0.3) -> str:
        """Read until no output came for `quiet_s`. Return the output after the last expected text."""
        while self._read(time.monotonic() + quiet_s):
            pass
        begin, self._read_to = self._read_to, len(self.shown)
        return self.shown[begin:]

    def enter(self, text: str) -> None:
        """Type a text. The key Enter sends a carriage return."""
        os.write(self._master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size; the foreground process gets SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self) -> list[Any]:
        """Return the terminal's modes, see termios(3)."""
        return termios.tcgetattr(self._master)

    def ended(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for the command's end, and return its exit status.

        Other processes may still have the terminal open.
        """
        limit = time.monotonic() + deadline_s
        while (status := self._child.poll()) is None:
            if time.monotonic() > limit:
                what = f"the command did not end within {deadline_s:g} s"
                raise TrayagentError(what, code="sandbox-broken", hint=repr(self.shown[-500:]))
            self._read(time.monotonic() + _LOOK_S)
        while self._read(time.monotonic()):
            pass
        return status

    def close(self) -> None:
        """Close the terminal, as closing its window does."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def _read(self, limit: float) -> bool:
        """Read the next output; report whether there was any."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, limit - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # every process has closed the terminal
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
