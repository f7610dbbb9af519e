"""Names of control sockets: how long they may be, and fresh ones for a master that will take a path over."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat
import sys
import tempfile
import zlib
from pathlib import Path

# sun_path holds 108 bytes on Linux (104 on macOS); ssh adds a dot and 16 random characters before it binds.
LONGEST = 90 if sys.platform == "linux" else 86
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PRIVATE = ".ta-"
_numbers = itertools.count(int.from_bytes(os.urandom(2), "big"))


def fits(path: str) -> bool:
    """Report whether ssh can listen on this control path."""
    return len(os.fsencode(path)) <= LONGEST


def default_in(runtime_dir: Path, name: str) -> str:
    """Return the control path of a host whose ssh_config names none: short, readable, one for each host."""
    readable = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:12]
    return str(runtime_dir / "cm" / f"{readable}-{zlib.crc32(name.encode()):08x}")


def fresh_for(path: str) -> str:
    """Return an unused path where only this user can listen, for a new master that will take `path` over.

    It is in the folder of `path` if nobody else may write there, else in a private folder made inside it:
    rename(2) needs the same file system, so the runtime folder will not do. Raises OSError.
    """
    folder = Path(path).parent
    if not _is_private(folder):
        inside = Path(tempfile.mkdtemp(prefix=_PRIVATE, dir=folder))
        # A name that nobody guesses: a master unlinks it at its end, when the folder's name may be another's.
        return str(inside / secrets.token_hex(3))
    while True:
        suffix = _base36(next(_numbers) % 36**3)
        candidate = f"{path}.{suffix}"
        if not fits(candidate):
            candidate = str(folder / f".{suffix}")
        if not os.path.lexists(candidate):
            return candidate


def remove_fresh(path: str) -> None:
    """Remove a fresh path and the private folder that was made for it."""
    with contextlib.suppress(OSError):
        Path(path).unlink()
    folder = Path(path).parent
    if folder.name.startswith(_PRIVATE):
        with contextlib.suppress(OSError):
            folder.rmdir()


def home_of(path: str) -> str:
    """Return the folder that a master's path belongs to: its own, or the one around its private folder."""
    folder = os.path.dirname(path)  # noqa: PTH120  # compared with what the kernel tells
    if os.path.basename(folder).startswith(_PRIVATE):  # noqa: PTH119  # as above
        return os.path.dirname(folder)  # noqa: PTH120  # as above
    return folder


def _is_private(folder: Path) -> bool:
    found = folder.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _base36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
