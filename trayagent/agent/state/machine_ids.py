"""Identifiers of this machine and of its current boot."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from trayagent.core.facts.remote_sessions import Machine

_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_DIGITS = 12  # enough to distinguish the machines that share one home directory


def boot_id() -> str:
    """Return an identifier of this boot of the machine, "" if the system has none."""
    try:
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=1
            ).stdout.strip()
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def this_machine(ids: Iterable[str] = _IDS) -> Machine:
    """Return the identifiers of this machine and boot. Source: machine-id(5)."""
    for path in ids:
        with contextlib.suppress(OSError):
            name = Path(path).read_text().strip()
            if name not in {"", "uninitialized"}:  # the file's text in an image that has never booted
                return Machine(name, boot_id())
    return Machine("", boot_id())


def file_mark(ids: Iterable[str] = _IDS) -> str:
    """Return a short identifier of this machine for file names, because several machines may share a home directory.

    The result is a hash, because machine-id(5) requires that the machine's identifier stays on the machine. On a Mac
    the result is "": it has no such identifier, and its host name changes with the network.
    """
    name = this_machine(ids).name or ("" if sys.platform == "darwin" else socket.gethostname())
    return hashlib.sha256(f"trayagent {name}".encode()).hexdigest()[:_DIGITS] if name else ""
