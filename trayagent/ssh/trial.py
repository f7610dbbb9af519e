"""Would the server let us in? A login beside the master, of which nobody is asked anything.

The agent's keys are shown to the server as public keys only: it says which it accepts before anything is
signed (RFC 4252, section 7), and no agent, which may ask for a confirmation or a touch, is asked to sign.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trayagent.core.resolved import Resolved
from trayagent.ssh.command import connect_timeout_s, escaped
from trayagent.ssh.ending import abandon
from trayagent.ssh.process import Process, read, ssh_processes

_AUTHENTICATED = re.compile(r"^Authenticated to ")
_ACCEPTED = re.compile(r"^debug1: Server accepts key: (?P<file>.+?) \S+ SHA256:")
_LINES_MAX = 2000  # DEBUG1 says about sixty; a server's banner may say more


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it: whether we were in, which files' keys the server accepts, and ssh's words without debugging.

    `status` is ssh's exit status, None when our own deadline or success ended it.
    """

    authenticated: bool
    accepted: frozenset[str]
    said: str
    status: int | None


def trial_command(
    name: str,
    resolved: Resolved,
    public_keys: Sequence[str],
    *,
    mark: str,
    files: Sequence[str] = (),
    ssh: str = "ssh",
    config: str | None = None,
) -> list[str]:
    """Return the words of a login that shares nothing with the master, opens no session and asks nobody.

    `public_keys` are files of keys to show beside the host's own `files`, which ssh forgets as its defaults
    once any is named. `mark` stands among the words, for whoever has to find a trial that nobody waits for.
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
        "LogLevel": "DEBUG1",
    }
    if resolved.connect_timeout is None:
        options["ConnectTimeout"] = str(connect_timeout_s(resolved))
    words = [ssh, *(["-F", config] if config is not None else []), "-N"]
    for key, value in options.items():
        words += ["-o", f"{key}={value}"]
    for path in (*files, *public_keys) if public_keys else ():
        words += ["-o", f"IdentityFile={escaped(path)}"]
    return [*words, "--", name]


def mark_of(runtime_dir: Path) -> str:
    """Return the mark of the trials of the agent with this runtime folder; without the signs of ssh's tokens."""
    return f"trayagent-trial {str(runtime_dir).replace('%', '_')}"


def processes_of(mark: str) -> list[Process]:
    """Return the trials with this mark that run."""
    return [p for p in ssh_processes(os.getuid()) if f"LocalCommand={mark}" in p.argv]


async def log_in(words: Sequence[str], environment: Mapping[str, str], *, deadline_s: float) -> Tried:
    """Carry the trial out; nothing of it is left when it returns. Raises OSError where ssh cannot be run."""
    null = asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec(
        *words,
        stdin=null,
        stdout=null,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        start_new_session=True,
        cwd="/",
    )
    lines: list[str] = []
    authenticated, ended = False, False
    try:
        async with asyncio.timeout(deadline_s):
            authenticated = await _until_authenticated(child.stderr, lines)
            if not authenticated:
                await child.wait()
                ended = True
    except TimeoutError:
        pass  # what was said until then is all that is known
    finally:
        await asyncio.shield(_end(child))
    matches = map(_ACCEPTED.match, lines)
    accepted = frozenset(found["file"] for found in matches if found is not None)
    said = "\n".join(line for line in lines if not line.startswith("debug"))
    return Tried(authenticated, accepted, said, child.returncode if ended else None)


async def _until_authenticated(stderr: asyncio.StreamReader | None, lines: list[str]) -> bool:
    """Read until ssh says that it is in, or ends; an endless line or talk is no ssh's."""
    while stderr is not None and len(lines) < _LINES_MAX:
        try:
            line = await stderr.readline()
        except ValueError:
            continue  # longer than anything of interest; it was dropped
        if not line:
            return False
        lines.append(line.decode(errors="replace").rstrip())
        if _AUTHENTICATED.match(lines[-1]):
            return True
    return False


async def _end(child: asyncio.subprocess.Process) -> None:
    running = read(child.pid) if child.returncode is None else None
    if running is not None:
        await abandon(running)
    await child.wait()
