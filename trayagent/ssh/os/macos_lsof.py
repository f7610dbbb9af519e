"""Read the descriptors of processes from lsof(8) with -F, for systems without /proc.

Source: lsof(8), OUTPUT FOR OTHER PROGRAMS. Every field is a line that begins with its letter. `p` begins a
process, `f` a descriptor.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from trayagent.ssh.os.types import End

_WORDS = ["lsof", "-n", "-P", "-w", "-F", "pftdnPT", "-a", "-d", "0-255"]
_QUERY_WITHIN_S = 5.0
_ENDS = re.compile(r"(.+):(\d+)->(.+):(\d+)")
_LISTENS = re.compile(r"(.+):(\d+)")
_EVERYWHERE = {"IPv4": "0.0.0.0", "IPv6": "::"}  # noqa: S104  # compared, not bound


@dataclass(slots=True)
class File:
    """One descriptor of a process.

    `kind` is "IPv4", "IPv6", "unix", "PIPE" and so on. `device` is the kernel's address of a socket or pipe.
    `name` depends on the kind: the two ends of a connection; a Unix socket's own name, or "->" and the peer's
    address; for a pipe "->" and the address of its other end. `protocol` is "TCP" or "UDP". `state` is the state of a
    TCP socket.
    """

    pid: int
    fd: int
    kind: str = ""
    device: str = ""
    name: str = ""
    protocol: str = ""
    state: str = ""

    @property
    def peer(self) -> str:
        """The kernel's address of the other end, or "" if lsof prints none."""
        return self.name[2:] if self.name.startswith("->") else ""

    @property
    def ends(self) -> tuple[End, End] | None:
        """The local and the remote end of an established TCP connection, None for anything else."""
        found = _ENDS.fullmatch(self.name)
        if self.state != "ESTABLISHED" or found is None:
            return None
        return (_ip(found[1]), int(found[2])), (_ip(found[3]), int(found[4]))

    @property
    def listens(self) -> End | None:
        """The address and port that a TCP socket listens on, None for anything else."""
        found = _LISTENS.fullmatch(self.name)
        if self.state != "LISTEN" or found is None:
            return None
        return _EVERYWHERE.get(self.kind, "") if found[1] == "*" else _ip(found[1]), int(found[2])


def of_processes(pids: Iterable[int]) -> list[File]:
    """Return the descriptors of these processes. The descriptors of each process are in ascending order."""
    wanted = ",".join(map(str, pids))
    return parsed(_query("-p", wanted)) if wanted else []


def of_user(uid: int, *which: str) -> list[File]:
    """Return the descriptors of all processes of a user; `which` are more lsof options that narrow the search."""
    return parsed(_query("-u", str(uid), *which))


def parsed(text: str) -> list[File]:
    """Return the descriptors in the output of lsof."""
    found: list[File] = []
    pid = 0
    for line in text.splitlines():
        letter, value = line[:1], line[1:]
        if letter == "p":
            pid = int(value)
        elif letter == "f":
            found.append(File(pid, int(value) if value.isdigit() else -1))
        elif found and found[-1].pid == pid:
            _take(found[-1], letter, value)
    return sorted(found, key=lambda file: (file.pid, file.fd))


def _take(file: File, letter: str, value: str) -> None:
    match letter:
        case "t":
            file.kind = value
        case "d":
            file.device = value
        case "n":
            file.name = value
        case "P":
            file.protocol = value
        case "T" if value.startswith("ST="):
            file.state = value[3:]


def _ip(text: str) -> str:
    """Return an address without brackets and scope, as the other modules write it."""
    address = ip_address(text.strip("[]").partition("%")[0])
    if isinstance(address, IPv6Address) and address.is_link_local:
        # The kernel stores the scope in the second group, and lsof prints the stored address.
        address = IPv6Address(address.packed[:2] + bytes(2) + address.packed[4:])
    return str(address)


def _query(*which: str) -> str:
    """Return the output of lsof. Ignore its exit status, because lsof fails if one of the processes is gone."""
    env = {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            [*_WORDS, *which], env=env, capture_output=True, check=False, timeout=_QUERY_WITHIN_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return os.fsdecode(done.stdout)
