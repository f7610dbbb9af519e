"""Saves memory, because the agent is idle most of the day."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from importlib.util import find_spec

# The modules with Python's own hashes, before and since 3.12. Without OpenSSL, hashlib needs all of them.
_OWN_HASHES = ("_md5", "_sha1", "_sha3", "_blake2")
_OWN_SHA2 = ("_sha256", "_sha512") if sys.version_info < (3, 12) else ("_sha2",)


def without_openssl() -> None:
    """Keep asyncio and hashlib from loading OpenSSL, which saves 7 MB.

    The agent uses no TLS, and asyncio works without the ssl module. dbus-fast and sqlite3 do not need ssl either.
    Call this before asyncio is imported.
    """
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]  # None makes an import of it fail
    if has_own_hashes():
        sys.modules.setdefault("_hashlib", None)  # type: ignore[arg-type]


def has_own_hashes() -> bool:
    """Report whether hashlib works without OpenSSL. Some distributions (Fedora) build Python without its own hashes."""
    return all(map(find_spec, (*_OWN_HASHES, *_OWN_SHA2)))


def give_back() -> None:
    """Collect the garbage of the start, and return free pages to the system (glibc's malloc_trim(3))."""
    gc.collect()
    gc.freeze()  # all present objects live as long as the agent, so later collections skip them
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
