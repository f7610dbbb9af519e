"""Keeping the resident size small: an agent that sleeps all day should not sit on memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys


def without_tls() -> None:
    """Keep asyncio from loading OpenSSL (it does without when there is none): 4 MB for a TLS that nobody speaks.

    To be called before asyncio is imported; dbus-fast and sqlite3 need none either.
    """
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]  # None is the import system's "not there"


def give_back() -> None:
    """Collect what starting up left behind, and give free pages back to the system (glibc's malloc_trim(3))."""
    gc.collect()
    gc.freeze()  # what lives now lives on: later collections need not touch its pages
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
