"""The two log files of a master: its own log (`ssh -E`), and what other programs write to its stderr.

A jump host's ssh, a ProxyCommand and a server's banner share the stderr of ssh. Their output must not pass for ssh's
own messages.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """The text of both files: `own` is ssh's log, `others` the output on its stderr."""

    own: str
    others: str = ""


def stderr_of(log: Path) -> Path:
    """Return the file beside a log that takes ssh's stderr."""
    return log.with_suffix(".err")


def create(log: Path) -> int:
    """Create both files, empty and private; return a descriptor for stderr, which the caller must close."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    os.close(os.open(log, flags, 0o600))
    # O_APPEND, because ssh and a ProxyCommand write there through separate descriptors.
    return os.open(stderr_of(log), flags | os.O_APPEND, 0o600)


def read(log: Path) -> Said:
    """Return the end of both files, "" for a missing one."""
    return Said(_end_of(log), _end_of(stderr_of(log)))


def rename(log: Path, to: Path) -> None:
    """Rename both files. Raise FileNotFoundError without a log."""
    log.rename(to)
    if stderr_of(log).exists():
        stderr_of(log).rename(stderr_of(to))


def remove(log: Path) -> None:
    """Remove both files."""
    log.unlink(missing_ok=True)
    stderr_of(log).unlink(missing_ok=True)


def _end_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _MAX_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
