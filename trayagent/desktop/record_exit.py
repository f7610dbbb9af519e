"""Runs a command in this terminal, and writes how the command ended into a file.

A terminal emulator does not report how its command ended. So for "Sign in", the terminal runs this program, which runs
the command. Usage: python -m trayagent.desktop.record_exit REPORT WORD…

The report is one JSON object: `status` (as a shell reports it) and `last`, the command's last line of output.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sys
import termios
from pathlib import Path

from trayagent.presentation.text import clean

_KEPT = 4096  # enough for the last line
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)")


def run(report: Path, words: list[str]) -> int:
    """Run the command in this terminal. Return its exit status, and write it into the report."""
    tail = bytearray()

    def read(fd: int) -> bytes:
        data = os.read(fd, 1024)
        tail.extend(data)
        del tail[:-_KEPT]
        return data

    signal.signal(signal.SIGHUP, _closed)
    try:
        status = os.waitstatus_to_exitcode(pty.spawn(words, read))
    except (OSError, termios.error, _ClosedError) as error:
        # If the terminal was closed, its settings cannot be restored, so any of these errors may come.
        closed = isinstance(error, _ClosedError) or isinstance(error.__context__, _ClosedError)
        status, tail = 127, bytearray(f"{words[0]}: {error}".encode())
        if closed:
            status, tail = 128 + signal.SIGHUP, bytearray(b"the terminal was closed before it ended")
    status = status if status >= 0 else 128 - status
    fresh = report.with_name(report.name + ".new")
    fresh.write_text(json.dumps({"status": status, "last": last_line(bytes(tail))}))
    fresh.replace(report)
    return status


class _ClosedError(Exception):
    pass


def _closed(*_: object) -> None:
    raise _ClosedError


def last_line(output: bytes) -> str:
    """Return the last line that is not empty, without terminal escape sequences."""
    text = _ESCAPES.sub("", output.decode(errors="replace"))
    lines = [clean(line).strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), "")


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
