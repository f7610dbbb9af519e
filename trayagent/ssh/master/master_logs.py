"""The two log files of a master: its own log (`ssh -E`), and what other programs write to its stderr.

A jump host's ssh and a ProxyCommand write to the stderr of ssh, and ssh prints a server's banner there. The agent must
not take this output for ssh's own messages.

A server can make ssh write endless text, before the login (banners) and after it (requests for channels). `shorten`
empties files that grew too long. A limit of the kernel on the size of files (RLIMIT_FSIZE) would be wrong: the master
itself writes the file in `ssh HOST command >file`, because the client passes its descriptors to it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from msgspec import Struct

_MAX_BYTES = 64 * 1024
MAX_SIZE = 1024 * 1024
"""The size in bytes above which `shorten` empties a file. `ssh -vvv` of a whole login is far shorter."""
# About four times the log of a login, which ssh cuts off without an error when the file system is full.
_ROOM_BYTES = 16 * 1024


class LogUnwritableError(OSError):
    """ssh could not write its log. `filename` is the directory."""


class SshOutput(Struct, frozen=True):
    """The text of both files: `own` is ssh's log, `others` the output on its stderr."""

    own: str
    others: str = ""


def stderr_of(log: Path) -> Path:
    """Return the file beside `log` that receives ssh's stderr."""
    return log.with_suffix(".err")


def create(log: Path) -> int:
    """Create both files, empty and private; return a descriptor for stderr, which the caller must close.

    Raise LogUnwritableError if the file system has no room for the log of a login, or a file cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        fd = os.open(log, flags, 0o600)
        try:
            if os.write(fd, bytes(_ROOM_BYTES)) < _ROOM_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)
        # O_APPEND, because ssh and a ProxyCommand write there through separate descriptors.
        return os.open(stderr_of(log), flags | os.O_APPEND, 0o600)
    except OSError as error:
        with contextlib.suppress(OSError):
            remove(log)
        raise LogUnwritableError(error.errno, error.strerror, str(log.parent)) from error


def check_writable(log: Path) -> None:
    """Check that ssh could write this log. Raise LogUnwritableError if it could not."""
    os.close(create(log))
    remove(log)


def read(log: Path) -> SshOutput:
    """Return the end of both files, "" for a missing file."""
    return SshOutput(_end_of(log), _end_of(stderr_of(log)))


def rename(log: Path, to: Path) -> None:
    """Rename both files. Raise FileNotFoundError without a log.

    The log comes last, because the next agent looks for logs, if this one is killed in between.
    """
    log.stat()
    if stderr_of(log).exists():
        stderr_of(log).rename(stderr_of(to))
    log.rename(to)


def remove(log: Path) -> None:
    """Remove both files, the log last as in `rename`."""
    stderr_of(log).unlink(missing_ok=True)
    log.unlink(missing_ok=True)


def shorten(log: Path) -> None:
    """Empty each of the two files that is longer than MAX_SIZE; the writers append, so they continue at the start."""
    for path in (log, stderr_of(log)):
        with contextlib.suppress(OSError):
            if path.stat().st_size > MAX_SIZE:
                os.truncate(path, 0)


def _end_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _MAX_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
