"""Checks the target of each local forward through its host's master, because an open forward may have a dead target."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator

from trayagent.config.model import Host
from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.resolved import Resolved
from trayagent.doctor.deadlines import aside, each
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case, spoken
from trayagent.errors import TrayagentError
from trayagent.ssh.master.launch_and_wait import read_own_log
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.errors import Refused

ANSWER_WITHIN_S, BEGIN_S = 1.5, 1.0
_AT_ONCE = 8
_MOST = 8  # for each host; more would exceed the time limit of a check
_REASON = re.compile(r"^channel \d+: open failed: (?P<why>.+)$", re.MULTILINE)


async def check(case: Case) -> Iterable[Finding]:
    """Let the server connect to each target, through a connected master. Close the connection at once."""

    async def one(host: tuple[str, Host, Resolved]) -> list[Finding]:
        return [*await _targets(case, *host)]

    found, _ = await each(case.wanted(), one, at_once=_AT_ONCE, within_s=BEGIN_S)
    return [finding for findings in found for finding in findings]


async def _targets(case: Case, name: str, host: Host, resolved: Resolved) -> Iterable[Finding]:
    if case.state(name) != "connected":
        return []
    forwards = [*_local((*host.forwards, *resolved.forwards))][:_MOST]
    pid = await aside(lambda: case.master(name)) if forwards else None
    if pid is None:
        return []
    found: list[Finding] = []
    answered = True
    for forward in forwards:
        reason = await _reason(case, name, pid, forward)
        answered &= reason is not None
        if reason:
            found.append(_finding(name, forward, reason))
    if found or not answered or not forwards:
        return found
    return [ok(f"{name}: the targets of its local forwards answer", host=name)]


def _local(forwards: Iterable[Forward]) -> Iterator[Forward]:
    """Yield the local forwards to a TCP port. A master before OpenSSH 9.4 cannot connect to a Unix socket."""
    return (
        f for f in dict.fromkeys(forwards) if f.target is not None and f.kind == "local" and not f.target.path
    )


async def _reason(case: Case, name: str, pid: int, forward: Forward) -> str | None:
    """Return why the server cannot connect to the target, "" if it can, None if the reason is unknown."""
    if forward.target is None:
        return None
    log = case.file_paths.master_log(pid)
    before = len(read_own_log(log))
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        async with MuxClient.connected(case.control_path(name), timeout_s=ANSWER_WITHIN_S) as client:
            await client.stdio_forward(
                forward.target.host, forward.target.port, null, null, timeout_s=ANSWER_WITHIN_S
            )
    except Refused:
        reasons = _REASON.findall(read_own_log(log)[before:])
        reason = "the server refused the connection"
        return reasons[-1].strip() if reasons else reason
    except TrayagentError:
        return None
    finally:
        with contextlib.suppress(OSError):
            os.close(null)
    return ""


def _finding(name: str, forward: Forward, reason: str) -> Finding:
    target = f"{forward.target.host}:{forward.target.port}" if forward.target is not None else ""
    if "prohibited" in reason:
        title = f"{name}: the server forbids the target of {spoken(forward)}"
        why = "The forward is open, but each connection through it is closed at once."
        remedy = (
            "Ask the server's administrator for PermitOpen and AllowTcpForwarding, also in Match blocks of its "
            "sshd_config, and for permitopen in authorized_keys."
        )
        return problem("forward-target", title, why, remedy, host=name)
    title = f"{name}: no service answers at {target}, the target of {spoken(forward)}"
    why = f"The server reports: {reason}. The forward itself is open."
    return advice("forward-target", title, why, "Start that service, or correct the target.", host=name)
