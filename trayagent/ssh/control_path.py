"""Names of control sockets: how long they may be, and fresh ones beside a living one."""

from __future__ import annotations

import itertools
import os
import sys
import zlib
from pathlib import Path

# sun_path holds 108 bytes on Linux (104 on macOS); ssh adds a dot and 16 random characters before it binds.
LONGEST = 90 if sys.platform == "linux" else 86
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_numbers = itertools.count(int.from_bytes(os.urandom(2), "big"))


def fits(path: str) -> bool:
    """Report whether ssh can listen on this control path."""
    return len(os.fsencode(path)) <= LONGEST


def default_in(runtime_dir: Path, name: str) -> str:
    """Return the control path of a host whose ssh_config names none: short, readable, one for each host."""
    readable = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:12]
    return str(runtime_dir / "cm" / f"{readable}-{zlib.crc32(name.encode()):08x}")


def fresh_beside(path: str) -> str:
    """Return an unused path in the same folder, for a new master that will take `path` over by rename(2)."""
    while True:
        suffix = _base36(next(_numbers) % 36**3)
        candidate = f"{path}.{suffix}"
        if not fits(candidate):
            candidate = str(Path(path).parent / f".{suffix}")
        if not Path(candidate).exists():
            return candidate


def _base36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
