"""Try a login beside a master, without any prompt, to see whether the server still accepts the keys.

For the keys in the ssh-agent, the trial gives ssh only the public keys. The server reports which keys it accepts before
ssh signs anything (RFC 4252, section 7). So the ssh-agent, which may prompt for a confirmation or a touch, never signs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.login.key_exchange_log import LOG_VERBOSE, KeyExchange, read_key_exchange
from trayagent.ssh.master.master_command_line import connect_timeout_s, escaped
from trayagent.ssh.master.master_logs import SshOutput
from trayagent.ssh.master.temporary_ssh import run_until, temporary_command
from trayagent.ssh.os.process import Process, ssh_processes

_AUTHENTICATED = re.compile(r"^Authenticated to ", re.MULTILINE)
_ACCEPTED = re.compile(
    r"^debug1: sshconnect2\.c:input_userauth_pk_ok\(\):\d+ \(.*pid=\d+\): "
    r"Server accepts key: (?P<file>.+?) \S+ SHA256:",
    re.MULTILINE,
)


class Tried(Struct, frozen=True):
    """The result of a trial: whether the login succeeded, and the files whose keys the server accepts.

    `proven` is the key exchange in the log; without it, nothing else in the log counts. `status` is ssh's exit status,
    None if the agent ended ssh after the success or at the deadline.
    """

    authenticated: bool
    accepted: frozenset[str]
    output: SshOutput
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

    ssh logs to the file `log`. `public_keys` are files of keys to offer in addition to the host's own `files`. The
    command line names both, because ssh drops its default files as soon as it names one. `mark` is part of the command
    line, so that a later agent can find an abandoned trial.
    """
    options = {
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "LocalCommand": mark,
        "LogLevel": "VERBOSE",
        "LogVerbose": f"{LOG_VERBOSE},sshconnect2.c:input_userauth_pk_ok():*",
    }
    if resolved.connect_timeout is None:
        options["ConnectTimeout"] = str(connect_timeout_s(resolved))
    offered = [escaped(path) for path in (*files, *public_keys)] if public_keys else []
    return temporary_command(name, options, log=log, ssh=ssh, config=config, files=offered)


def mark_of(runtime_dir: Path) -> str:
    """Return the mark for the trials of the agent with this runtime directory. It has no %, which ssh would expand."""
    return f"trayagent-trial {str(runtime_dir).replace('%', '_')}"


def processes_of(mark: str) -> list[Process]:
    """Return the running trials with this mark."""
    return [p for p in ssh_processes(os.getuid()) if f"LocalCommand={mark}" in p.argv]


async def log_in(
    words: Sequence[str], environment: Mapping[str, str], log: Path, *, deadline_s: float
) -> Tried:
    """Run the trial, remove its log and return its result. Raise OSError if ssh cannot run."""
    result = await run_until(words, log, environment, deadline_s=deadline_s, enough=_authenticated)
    output = result.output
    proven = read_key_exchange(output.own, result.pid)
    accepted = frozenset(found["file"] for found in _ACCEPTED.finditer(proven.after))
    return Tried(_authenticated(result.pid, output.own), accepted, output, proven, result.status)


def _authenticated(pid: int, log: str) -> bool:
    """Report whether the log shows a successful login.

    A host certificate can forge this line. The only harm is that the agent does not warn the user of refused keys.
    """
    after_login = read_key_exchange(log, pid, logged_in=True).after
    return _AUTHENTICATED.search(after_login) is not None
