"""Try a login beside a master, without any prompt, to see whether the server still accepts the keys.

The keys of the ssh-agent are offered as public keys only. The server says which keys it accepts before anything is
signed (RFC 4252, section 7). So the ssh-agent, which may prompt for a confirmation or a touch, never signs.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.login.key_exchange import LOG_OPTIONS, LOG_VERBOSE, KeyExchange, read_key_exchange
from trayagent.ssh.master import log as master_log
from trayagent.ssh.master.command import connect_timeout_s, escaped
from trayagent.ssh.master.ending import abandon
from trayagent.ssh.master.log import Said
from trayagent.ssh.os.process import Process, read, ssh_processes

_AUTHENTICATED = re.compile(r"^Authenticated to ", re.MULTILINE)
_ACCEPTED = re.compile(
    r"^debug1: sshconnect2\.c:input_userauth_pk_ok\(\):\d+ \(.*pid=\d+\): "
    r"Server accepts key: (?P<file>.+?) \S+ SHA256:",
    re.MULTILINE,
)
_POLL_S = 0.01  # a growing file causes no event; a fraction of a round trip


@dataclass(frozen=True, slots=True)
class Tried:
    """The result of a trial: whether the login succeeded, and the files whose keys the server accepts.

    `proven` is the key exchange in the log; without it neither is possible. `status` is ssh's exit status, None if
    our deadline or the success ended ssh.
    """

    authenticated: bool
    accepted: frozenset[str]
    said: Said
    proven: KeyExchange
    status: int | None


def trial_command(
    name: str,
    resolved: Resolved,
    public_keys: Sequence[str],
    *,
    mark: str,
    log: Path,
    files: Sequence[str] = (),
    ssh: str = "ssh",
    config: str | None = None,
) -> list[str]:
    """Return the command line of a login that shares nothing with the master, opens no session and never prompts.

    ssh logs to the file `log`. `public_keys` are files of keys to offer in addition to the host's own `files`; ssh
    drops its default files as soon as one is named. `mark` is part of the command line, so that a later agent can
    find an abandoned trial.
    """
    options = {
        "ControlPath": "none",
        "ControlMaster": "no",
        "ControlPersist": "no",
        "ForkAfterAuthentication": "no",
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "BatchMode": "yes",
        "IdentityAgent": "none",
        "PermitLocalCommand": "no",
        "LocalCommand": mark,
        "Tunnel": "no",
        "UpdateHostKeys": "no",  # a changed known_hosts would be one more change of credentials
        "LogLevel": "VERBOSE",
        **LOG_OPTIONS,
        "LogVerbose": f"{LOG_VERBOSE},sshconnect2.c:input_userauth_pk_ok():*",
    }
    if resolved.connect_timeout is None:
        options["ConnectTimeout"] = str(connect_timeout_s(resolved))
    words = [ssh, *(["-F", config] if config is not None else []), "-N", "-E", str(log)]
    for key, value in options.items():
        words += ["-o", f"{key}={value}"]
    for path in (*files, *public_keys) if public_keys else ():
        words += ["-o", f"IdentityFile={escaped(path)}"]
    return [*words, "--", name]


def mark_of(runtime_dir: Path) -> str:
    """Return the mark for the trials of the agent with this runtime directory, with % replaced (an ssh token)."""
    return f"trayagent-trial {str(runtime_dir).replace('%', '_')}"


def processes_of(mark: str) -> list[Process]:
    """Return the running trials with this mark."""
    return [p for p in ssh_processes(os.getuid()) if f"LocalCommand={mark}" in p.argv]


async def log_in(
    words: Sequence[str], environment: Mapping[str, str], log: Path, *, deadline_s: float
) -> Tried:
    """Run the trial and return its result; its process and log are gone then. Raise OSError if ssh cannot run."""
    null = asyncio.subprocess.DEVNULL
    stderr = master_log.create(log)
    try:
        child = await asyncio.create_subprocess_exec(
            *words,
            stdin=null,
            stdout=null,
            stderr=stderr,
            env=dict(environment),
            start_new_session=True,
            cwd="/",
        )
    except BaseException:
        master_log.remove(log)
        raise
    finally:
        os.close(stderr)
    ended = False
    try:
        async with asyncio.timeout(deadline_s):
            ended = await _until_authenticated(child, log)
    except TimeoutError:
        pass  # the log until then is all that is known
    finally:
        await asyncio.shield(_end(child))
        said = master_log.read(log)
        master_log.remove(log)
    proven = read_key_exchange(said.own, child.pid)
    accepted = frozenset(found["file"] for found in _ACCEPTED.finditer(proven.after))
    # A certificate can forge this line; what follows from it is only that the user is not warned.
    authenticated = _AUTHENTICATED.search(_after_login(said.own, child.pid)) is not None
    return Tried(authenticated, accepted, said, proven, child.returncode if ended else None)


async def _until_authenticated(child: asyncio.subprocess.Process, log: Path) -> bool:
    """Wait until ssh logs a successful login, or ends; return whether it ended."""
    while child.returncode is None:
        if _AUTHENTICATED.search(_after_login(master_log.read(log).own, child.pid)):
            return False
        master_log.shorten(log)
        await asyncio.sleep(_POLL_S)
    return True


def _after_login(log: str, pid: int) -> str:
    return read_key_exchange(log, pid, logged_in=True).after


async def _end(child: asyncio.subprocess.Process) -> None:
    running = read(child.pid) if child.returncode is None else None
    if running is not None:
        await abandon(running)
    await child.wait()
