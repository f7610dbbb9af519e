"""A bare control: a key exchange with a server, but no login. It is for masters whose login options are unknown.

The agent ends ssh once it has logged the host key and NEWKEYS, or the server's banner if that is enough. Until then ssh
has sent neither a user name nor a key, and has not prompted the user.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from trayagent.ssh.login.key_exchange_log import read_key_exchange
from trayagent.ssh.master.temporary_ssh import run_until, temporary_command
from trayagent.ssh.os.tcp_connection import flow_of

# Messages that ssh prints only after it has read an SSH banner. Source: packet.c (sshpkt_vfatal), kex.c.
_AFTER_BANNER = re.compile(
    r"^(?:Unable to negotiate with |Received disconnect from |ssh_dispatch_run_fatal: )", re.MULTILINE
)
_LOG_BANNER = "kex.c:kex_exchange_identification():*"  # the value of LogVerbose that logs the server's banner
_BANNER = re.compile(
    r"^debug1: kex\.c:kex_exchange_identification\(\):\d+ .*: Remote protocol version ", re.MULTILINE
)


class Server(Struct, frozen=True):
    """The server of a control: its address, and the name and known_hosts files with which to find its host key."""

    peer: str
    port: int
    name: str | None
    known_hosts: tuple[Path, ...]

    @property
    def known_as(self) -> tuple[str, ...]:
        """The names that the server may have in known_hosts."""
        names = [name for name in (self.name, self.peer) if name]
        return tuple(names if self.port == 22 else (f"[{name}]:{self.port}" for name in names))


class Answer(Struct, frozen=True):
    """The result of a bare control: the proven host key, whether an SSH server answered, and ssh's log.

    `certified`: the server presented a certificate, which proves nothing here. Then run a control without certificates.
    """

    host_key: str | None
    answered: bool
    output: str
    certified: bool = False


def bare_command(
    server: Server,
    log: Path,
    *,
    connect_timeout_s: int,
    ssh: str,
    config: str | None,
    certificates: bool = True,
    banner: bool = False,
) -> list[str]:
    """Return the command line of an ssh that connects to this address, never prompts and keeps known_hosts unchanged.

    ssh uses the user's configuration for the name, because an old server may need algorithms that are set there. ssh
    reads the known keys only to request a key of their type. If `certificates` is False, ssh requests no certificates,
    only plain keys with its default algorithms. If `banner` is True, ssh logs the server's banner, but no key.
    """
    files = " ".join(str(path) for path in server.known_hosts if not re.search(r"[\s\"'#%]", str(path)))
    options = {
        "HostName": server.peer,
        "Port": str(server.port),
        "HostKeyAlias": server.known_as[0],
        "ProxyCommand": "none",
        "ProxyJump": "none",
        "CanonicalizeHostname": "no",
        "PreferredAuthentications": "none",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": os.devnull,
        "GlobalKnownHostsFile": files or os.devnull,
        "KnownHostsCommand": "none",
        "ConnectTimeout": str(connect_timeout_s),
        "ConnectionAttempts": "1",
        "LogLevel": "INFO",
    }
    if not certificates:
        options["HostKeyAlgorithms"] = "-*-cert-v01@openssh.com"
    if banner:
        options["LogVerbose"] = _LOG_BANNER
    return temporary_command(server.name or server.peer, options, log=log, ssh=ssh, config=config)


async def exchange_keys(
    words: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    *,
    deadline_s: float,
    established: Callable[[], None],
    banner: bool = False,
) -> Answer:
    """Run the control, remove its log and return its result. Raise OSError if ssh cannot run.

    Call `established` as soon as the TCP connection is established. If `banner` is True, end the control at the
    server's banner.
    """
    connected = False

    def enough(pid: int, text: str) -> bool:
        nonlocal connected
        if not connected and flow_of(pid) is not None:
            connected = True
            established()
        if banner:
            return _BANNER.search(text) is not None
        proven = read_key_exchange(text, pid)
        return proven.certified or proven.host_key is not None

    result = await run_until(words, log, environment, deadline_s=deadline_s, enough=enough)
    output = result.output.own
    if banner:
        answered = _BANNER.search(output) is not None or _AFTER_BANNER.search(output) is not None
        return Answer(None, answered, output)
    proven = read_key_exchange(output, result.pid)
    answered = proven.certified or proven.host_key is not None or _AFTER_BANNER.search(output) is not None
    return Answer(proven.host_key, answered, output, proven.certified)
