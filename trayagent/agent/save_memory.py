"""Saves memory, because the agent is idle most of the day."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys


def without_tls() -> None:
    """Keep asyncio from loading OpenSSL, which saves 4 MB.

    The agent uses no TLS, and asyncio works without the ssl module. Call this before asyncio is imported. dbus-fast
    and sqlite3 do not need ssl either.
    """
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]  # None makes an import of it fail


def give_back() -> None:
    """Collect the garbage of the start, and return free pages to the system (glibc's malloc_trim(3))."""
    gc.collect()
    gc.freeze()  # all present objects live as long as the agent, so later collections skip them
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
