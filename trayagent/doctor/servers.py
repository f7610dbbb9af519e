"""Checks the servers to which a master is connected. The check uses that master, so it needs no login."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from trayagent.config.model import Host
from trayagent.core.facts.resolved import Resolved
from trayagent.doctor import mptcp
from trayagent.doctor.deadlines import aside, each
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case
from trayagent.dotted_key import dotted
from trayagent.net.choose_sources import read_once
from trayagent.netlink.errors import NetlinkError
from trayagent.ssh.mux.errors import MuxError, Refused
from trayagent.ssh.os.control_sockets import bound_by_master
from trayagent.ssh.os.process import read
from trayagent.ssh.remote import run_script

ANSWER_WITHIN_S, BEGIN_S = 2.5, 1.0
_AT_ONCE = 8

# Sets `$file` to sshd's configuration, and `$also` to the files that it includes. If sshd was started with -f, use that
# file.
SSHD_FILES = r"""
file=/etc/ssh/sshd_config pid=$PPID
for step in 1 2 3; do
    title=$(ps -o args= -p "$pid" 2>/dev/null)
    case $title in
    *sshd*" -f "*) file=${title#*" -f "}; file=${file%% *}; break ;;
    esac
    pid=$(ps -o ppid= -p "$pid" 2>/dev/null | tr -d ' ')
    [ -n "$pid" ] || break
done
also=
grep -qi '^[[:space:]]*Include.*sshd_config\.d' "$file" 2>/dev/null && also='/etc/ssh/sshd_config.d/*.conf'
"""

# The script skips lines after a Match, because they apply only to some connections.
SCRIPT = (
    r"""
for tool in tmux screen; do command -v $tool >/dev/null 2>&1 && echo "has $tool"; done
echo "shell ${SHELL##*/}"
"""
    + mptcp.SCRIPT
    + SSHD_FILES
    + r"""
for one in $also "$file"; do
    [ -r "$one" ] || continue
    echo readable
    sed '/^[[:space:]]*[Mm]atch[[:space:]]/,$d' "$one" |
        grep -iE '^[[:space:]]*(ClientAliveInterval|AllowTcpForwarding|DisableForwarding)[[:space:]=]' |
        sed 's/^[[:space:]]*/sshd /'
done
"""
)


@dataclass(slots=True)
class Far:
    """The answer of the script.

    `sshd` maps options to values, both in lower case. `readable` is true if sshd_config could be read. `mptcp` is what
    the server needs to speak Multipath TCP (`doctor/mptcp.py`).
    """

    tools: set[str] = field(default_factory=set)
    shell: str = ""
    readable: bool = False
    sshd: dict[str, str] = field(default_factory=dict)
    mptcp: dict[str, str] = field(default_factory=dict)


async def check(case: Case) -> Iterable[Finding]:
    """Check each server that has a master. If there are very many, check as many as the time limit allows."""
    servers: set[tuple[str, int]] = set()

    async def one(host: tuple[str, Host, Resolved]) -> list[Finding]:
        name, _, resolved = host
        far: list[Far] = []
        if (server := (resolved.hostname, resolved.port)) in servers or not _is_carried(case, name):
            return [*await _examine(case, far, *host)]
        servers.add(server)
        found, answer = await asyncio.gather(_examine(case, far, *host), mptcp.ask(case, name))
        return [*found, *mptcp.findings(name, answer, far[0].mptcp if far else {})]

    found, _ = await each(case.wanted(), one, at_once=_AT_ONCE, within_s=BEGIN_S)
    return [finding for findings in found for finding in findings]


async def _examine(
    case: Case, answered: list[Far], name: str, host: Host, resolved: Resolved
) -> Iterable[Finding]:
    """Return the findings about a server. Its answer is appended to `answered`."""
    if not _is_carried(case, name):
        return []
    pid = await aside(lambda: case.master(name))
    process = read(pid) if pid is not None else None
    if process is None or not (process.comm == "ssh" or bound_by_master(case.control_path(name))):
        return []
    if host.probe == "forward":
        return _no_shell(name, host, resolved, by_agent=True)
    try:
        lines = await run_script.run(case.control_path(name), SCRIPT, timeout_s=ANSWER_WITHIN_S)
    except Refused:
        title = f"{name}: the server allows no more sessions on one connection (MaxSessions)"
        why = "Each further terminal makes its own connection, which does not survive a change of network."
        remedy = "Close sessions, or ask the server's administrator to raise MaxSessions in sshd_config."
        return [advice("max-sessions", title, why, remedy, host=name)]
    except MuxError as error:
        why = "The master runs, but its connection carries nothing now, or the server is busy."
        remedy = "To see the agent's decisions:"
        return [
            advice("far-side-silent", f"{name}: {error}", why, remedy, f"trayagent why {name}", host=name)
        ]
    if lines is None:
        return _no_shell(name, host, resolved, by_agent=False)
    far = read_answer(lines)
    answered.append(far)
    summary = ", ".join([far.shell or "sh", *sorted(far.tools)])
    return [*judged(name, host, resolved, far)] or [ok(f"{name}: {summary}", host=name)]


def _is_carried(case: Case, name: str) -> bool:
    """Report whether the check may send packets. If they got lost, the connection would recover more slowly."""
    if case.view is not None:
        return case.state(name) == "connected"
    try:
        return bool(read_once().default_routes)
    except (OSError, NetlinkError):
        return False  # unknown state: send nothing


def read_answer(lines: Iterable[str]) -> Far:
    """Parse the script's lines. The first value of an option counts, as in sshd_config(5)."""
    far = Far()
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "has":
            far.tools.add(rest)
        elif word == "shell":
            far.shell = rest
        elif word == "readable":
            far.readable = True
        elif word == "mptcp":
            key, _, value = rest.partition(" ")
            far.mptcp[key] = value
        elif word == "sshd":
            key, *values = rest.replace("=", " ").split()
            far.sshd.setdefault(key.lower(), values[0].lower() if values else "")
    return far


def judged(name: str, host: Host, resolved: Resolved, far: Far) -> Iterator[Finding]:
    """Yield what the configuration needs and the server lacks; pure."""
    forwards = (*host.forwards, *resolved.forwards)
    if host.session in {"tmux", "screen"} and host.session not in far.tools:
        others = " or ".join(f'session = "{tool}"' for tool in sorted({*far.tools, "shell"}))
        title = f"{name}: the server has no {host.session}"
        why = f"`trayagent attach {name}` has no session to return to."
        yield advice(
            "session-missing", title, why, f"Install {host.session} there, or set {others}.", host=name
        )
    refused = _refused(far, {"remote" if f.kind == "remote" else "local" for f in forwards})
    if refused:
        title = f"{name}: its sshd_config has {refused}"
        why = "Its forwards may be open, but they carry nothing."
        yield problem(
            "forwarding-refused", title, why, "Ask the server's administrator to allow forwards.", host=name
        )
    if any(f.kind == "remote" for f in forwards) and not host.reap and far.readable:
        yield from _late(name, far)


def _refused(far: Far, kinds: set[str]) -> str:
    """Return sshd's option that forbids forwards of these kinds, or ""."""
    if kinds and far.sshd.get("disableforwarding") == "yes":
        return "DisableForwarding yes"
    allowed = far.sshd.get("allowtcpforwarding", "yes")
    if allowed == "no" or (allowed in {"local", "remote"} and kinds - {allowed}):
        return f"AllowTcpForwarding {allowed}" if kinds else ""
    return ""


def _late(name: str, far: Far) -> Iterator[Finding]:
    """Warn about a server that holds the ports of a lost connection until it notices the loss after hours."""
    if far.sshd.get("clientaliveinterval", "0") == "0":
        title = f"{name}: its server notices a lost connection only after hours"
        why = "Its sshd_config sets no ClientAliveInterval, and with reap = false the dead session keeps the port."
        remedy = "Remove reap = false, or set this in the server's sshd_config:"
        yield advice("client-alive", title, why, remedy, "ClientAliveInterval 15", host=name)


def _no_shell(name: str, host: Host, resolved: Resolved, *, by_agent: bool) -> list[Finding]:
    """Return the findings for an account that runs no commands.

    The agent then uses a forward as proof of life, and it cannot end a dead session on the server.
    """
    if any(forward.kind == "remote" for forward in (*host.forwards, *resolved.forwards)):
        title = f"{name}: its account runs no commands, so a port that a dead session holds cannot be freed"
        why = "After a lost connection its remote forwards wait until the server notices."
        remedy = "Set this in the server's sshd_config:"
        return [advice("far-side-no-shell", title, why, remedy, "ClientAliveInterval 15", host=name)]
    if not by_agent:
        title = f"{name}: its account runs no commands"
        why = "The host works anyway. With the following line, the agent does not try to run a command."
        remedy = "Add to the configuration:"
        table = f"[{dotted('hosts', name)}]"
        return [advice("far-side-no-shell", title, why, remedy, table, 'probe = "forward"', host=name)]
    return [ok(f"{name}: a forced command", host=name)]
