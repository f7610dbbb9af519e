"""Drive a real interactive shell on a pseudo-terminal by its keys."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

TAB, LINE_START, ENTER = "\t", "\x01", "\r"
DEADLINE_S = 30.0


class Shell:
    """One shell, which runs `setup` first; a context manager that ends it."""

    def __init__(self, words: list[str], env: Mapping[str, str], setup: list[str]) -> None:
        self._pid, self._terminal = pty.fork()
        if not self._pid:
            os.execvpe(words[0], words, dict(env))  # noqa: S606  # a list of words, no shell between
        for line in setup:
            self._until_done(line)

    def completed(self, typed: str) -> list[str]:
        """Return the words of a line after one TAB at its end, as the shell itself reads them.

        Keys that arrive during the completion wait in the terminal.
        """
        shown = self._until_done(f"{typed}{TAB}{LINE_START}printf '<%s>\\n' ")
        return re.findall(r"^<([^\r\n]*)>\r?$", shown, re.MULTILINE)

    def _until_done(self, line: str) -> str:
        """Type a line and a second one, whose output shows that the first is done; return the output."""
        mark = str(time.monotonic_ns())
        os.write(self._terminal, f"{line}{ENTER}echo do''ne{mark}{ENTER}".encode())
        shown, limit = "", time.monotonic() + DEADLINE_S
        while f"done{mark}" not in shown:
            left = limit - time.monotonic()
            if left <= 0 or not select.select([self._terminal], [], [], left)[0]:
                raise AssertionError(f"the shell showed only: {shown!r}")
            shown += os.read(self._terminal, 65536).decode(errors="replace")
        return shown

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)
