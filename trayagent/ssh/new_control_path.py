"""Choose control paths: check their length, and find an unused one for a master that will take over a path."""

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
    """Return the control path of a host that has none in ssh_config: short, readable, and unique for each host."""
    readable = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:12]
    return str(runtime_dir / "cm" / f"{readable}-{zlib.crc32(name.encode()):08x}")


def fresh_for(path: str) -> str:
    """Return an unused path where only this user can listen, for a new master that will take over `path`.

    The path is in the directory of `path` if no other user may write there, else in a new private directory inside it.
    The runtime directory is unsuitable, because rename(2) works only within one file system. Raise OSError.
    """
    folder = Path(path).parent
    if not _is_private(folder):
        inside = Path(tempfile.mkdtemp(prefix=_PRIVATE, dir=folder))
        # When the master ends, it unlinks this path. By then, another user may have replaced the directory `inside`, so
        # the name of the file must be unpredictable.
        return str(inside / secrets.token_hex(3))
    while True:
        suffix = _base36(next(_numbers) % 36**3)
        candidate = f"{path}.{suffix}"
        if not fits(candidate):
            candidate = str(folder / f".{suffix}")
        if not os.path.lexists(candidate):
            return candidate


def remove_fresh(path: str) -> None:
    """Remove a path from `fresh_for` and the private directory that was made for it."""
    with contextlib.suppress(OSError):
        Path(path).unlink()
    folder = Path(path).parent
    if folder.name.startswith(_PRIVATE):
        with contextlib.suppress(OSError):
            folder.rmdir()


def home_of(path: str) -> str:
    """Return the directory of a control path, or its parent if it is a private directory that `fresh_for` made."""
    folder = os.path.dirname(path)  # noqa: PTH120  # a string, like the names that the kernel reports
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
