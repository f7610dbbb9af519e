"""Detect what the processor of this machine can do."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@cache
def has_aes() -> bool:
    """Report whether the processor has instructions for AES. Without them, AES takes longer than ChaCha20.

    Source: proc_cpuinfo(5); `flags` on x86, `Features` on ARM. All Macs of the last ten years have them.
    """
    return sys.platform == "darwin" or has_aes_flag(_read())


def has_aes_flag(cpuinfo: str) -> bool:
    """Report whether the text of /proc/cpuinfo lists AES among the flags of the first processor."""
    for line in cpuinfo.splitlines():
        key, _, words = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return "aes" in words.split()
    return False


def _read() -> str:
    try:
        return _CPUINFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
