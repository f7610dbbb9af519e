"""Checks whether the hosts with `roam = true` can roam, and whether their servers end sessions that wait."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from trayagent.config.model import Config, Host
from trayagent.core.facts.resolved import Resolved
from trayagent.doctor.deadlines import aside, each
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case
from trayagent.doctor.servers import ANSWER_WITHIN_S, BEGIN_S, SSHD_FILES
from trayagent.dotted_key import dotted
from trayagent.ssh.mux.errors import MuxError
from trayagent.ssh.remote import run_script
from trayagent.ssh.remote.quote_script import quoted

_AT_ONCE = 8
_OLDEST_PYTHON = (3, 7)
_COUNT_MAX_DEFAULT = 3  # sshd_config(5), ClientAliveCountMax
_RESOLVED_WITHIN_S = 1.0
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}

# Prints the version. Prints a line `unwritable REASON` if no file as large as the far relay and its compiled copy can
# be written, and a line `not-mine ADDRESS` for each argument that is not an address of the server.
_PYTHON = r"""
import os, socket, sys
print("python", *sys.version_info[:2])
os.umask(0o77)
folder = os.path.expanduser("~/.cache/trayagent")
path = "%s/.doctor-%d" % (folder, os.getpid())
try:
    os.makedirs(folder, exist_ok=True)
    try:
        with open(path, "wb") as file:
            file.write(bytes(200000))
            file.flush()
            os.fsync(file.fileno())
    finally:
        if os.path.exists(path):
            os.unlink(path)
        if not os.listdir(folder):
            os.rmdir(folder)
except OSError as error:
    print("unwritable", error.strerror)
for address in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.socket(family).bind((address, 0))
    except OSError:
        print("not-mine", address)
"""

# The script prints a line `by-address RULE` for each rule that may treat a login from the server's own address
# differently.
SCRIPT = (
    r"""
k=$(busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager \
KillUserProcesses 2>/dev/null)
case $k in *true*)
    systemd-run --user --scope --quiet true 2>/dev/null || echo kills
esac
grep -qs '^[^#]*from="' ~/.ssh/authorized_keys && echo 'by-address from= in ~/.ssh/authorized_keys'
"""
    + SSHD_FILES
    + r"""
for one in $also "$file"; do
    [ -r "$one" ] || continue
    sed '/^[[:space:]]*[Mm]atch[[:space:]]/,$d' "$one" |
        grep -iE '^[[:space:]]*(ClientAliveInterval|ClientAliveCountMax)[[:space:]=]' |
        sed 's/^[[:space:]]*/sshd /'
    grep -iE '^[[:space:]]*Match[[:space:]].*(Local)?Address' "$one" | sed 's/^[[:space:]]*/by-address /'
    grep -iE '^[[:space:]]*(Allow|Deny)Users[[:space:]].*@' "$one" | sed 's/^[[:space:]]*/by-address /'
done
"""
)


@dataclass(slots=True)
class RoamingServer:
    """The answer of the script.

    `python` is the version of python3, None if it is missing. `kills`: the server ends the far relay together with the
    login that started it. `by_address` are the rules that depend on a login's address. `sshd` maps options to values.
    `unwritable` is why the far relay cannot be written to the home directory, "" if it can. `others` are the addresses
    of the host's name that are not addresses of the machine that answered.
    """

    python: tuple[int, int] | None = None
    kills: bool = False
    by_address: list[str] = field(default_factory=list)
    sshd: dict[str, str] = field(default_factory=dict)
    unwritable: str = ""
    others: list[str] = field(default_factory=list)


def is_to_roam(config: Config, host: Host) -> bool:
    """Report whether the configuration wants a host to roam, perhaps only if its login needs the user."""
    return config.agent.roam or host.roam_port is not None if host.roam is None else host.roam


async def check(case: Case) -> Iterable[Finding]:
    """Check each host that is to roam. If its master is up, run the script on its server."""
    hosts = [one for one in case.wanted() if is_to_roam(case.config, one[1])]

    async def one(host: tuple[str, Host, Resolved]) -> list[Finding]:
        return [*await _examine(case, *host)]

    found, _ = await each(hosts, one, at_once=_AT_ONCE, within_s=BEGIN_S)
    return [finding for findings in found for finding in findings]


async def _examine(case: Case, name: str, host: Host, resolved: Resolved) -> Iterable[Finding]:
    local = [*judged_here(name, host, resolved)]
    if local or case.state(name) != "connected" or await aside(lambda: case.master(name)) is None:
        return local
    script = script_for(await _addresses(resolved))
    try:
        lines = await run_script.run(case.control_path(name), script, timeout_s=ANSWER_WITHIN_S)
    except MuxError:
        return []  # the check "server" reports this
    if lines is None:
        return [_cannot(name, "its account runs no commands", "no-shell", "Allow it a shell")]
    found = [*judged(name, read_answer(lines), case.config.agent.roam_for_s)]
    return found or [ok(f"{name}: can roam", host=name)]


def script_for(addresses: Iterable[str]) -> str:
    """Return the script for a server whose name has these addresses; pure."""
    words = " ".join(quoted(word) for word in (_PYTHON, *addresses))
    return f"python3 -s -S -E -c {words} 2>/dev/null || echo python\n{SCRIPT}"


async def _addresses(resolved: Resolved) -> list[str]:
    """Return the addresses of a host's name if it has several of one family. Behind a jump host, return none."""
    if not resolved.plain_connect:
        return []
    family = _FAMILIES.get(resolved.address_family, socket.AF_UNSPEC)
    found: set[tuple[int, str]] = set()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_RESOLVED_WITHIN_S):
            answer = await aside(
                lambda: socket.getaddrinfo(resolved.hostname, None, family, socket.SOCK_STREAM)
            )
        found = {(one[0], str(one[4][0])) for one in answer}
    return sorted(a for f, a in found if sum(f == other for other, _ in found) > 1)


def judged_here(name: str, host: Host, resolved: Resolved) -> Iterator[Finding]:
    """Yield why a host cannot roam, as far as the local settings show; pure."""
    if resolved.canonicalize_hostname != "no":
        reason = "ssh ignores its CanonicalizeHostname behind a relay and might check another host key"
        yield _cannot(name, reason, "canonicalize", "Set CanonicalizeHostname no for it in ssh_config")
    elif host.probe == "forward":
        yield _cannot(name, "its account runs no commands", "no-shell", "Allow it a shell")


def read_answer(lines: Iterable[str]) -> RoamingServer:
    """Parse the script's lines. The first value of an option counts, as in sshd_config(5)."""
    found = RoamingServer()
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "python" and all(part.isdecimal() for part in rest.split()) and len(rest.split()) == 2:
            major, minor = map(int, rest.split())
            found.python = (major, minor)
        elif word == "kills":
            found.kills = True
        elif word == "unwritable":
            found.unwritable = rest.strip()[:100]
        elif word == "not-mine":
            found.others.append(rest.strip()[:100])
        elif word == "by-address":
            found.by_address.append(rest.strip()[:100])
        elif word == "sshd":
            key, value, *_ = [*rest.replace("=", " ").split(), "", ""]
            if key:
                found.sshd.setdefault(key.lower(), value)
    return found


def judged(name: str, server: RoamingServer, roam_for_s: float) -> Iterator[Finding]:
    """Yield what on the server keeps a host from roaming, or ends its sessions early; pure."""
    if server.python is None or server.python < _OLDEST_PYTHON:
        version = "no python3" if server.python is None else f"python3 {server.python[0]}.{server.python[1]}"
        yield _cannot(name, f"its server has {version}", "no-python", "Install python3 3.7 or later there")
    if server.unwritable:
        title = f"{name}: its server cannot write the far relay to ~/.cache/trayagent: {server.unwritable}"
        why = "If the host does not roam yet, it works as a plain host: its sessions end when the network changes."
        remedy = "Make room in your home directory there"
        yield problem("roaming-unwritable", title, why, *_or_turn_off(name, remedy), host=name)
    if server.others:
        others = " and ".join(server.others)
        title = f"{name}: its name may lead to several machines: {others} are no addresses of this server"
        why = (
            "Its sessions are on one machine. The agent returns to it after a move. "
            "If it does not answer at its address, the sessions wait."
        )
        remedy = "To stay on one machine, give its own name as HostName in ssh_config"
        yield advice("roaming-several-machines", title, why, *_or_turn_off(name, remedy), host=name)
    if server.by_address:
        title = f"{name}: its server has rules that depend on a login's address: {server.by_address[0]}"
        why = (
            "A host that roams logs in once more, from the server's own address. "
            "Such a rule may refuse that login, or give it other rights."
        )
        yield advice("roaming-by-address", title, why, *_or_turn_off(name, "Check the rules"), host=name)
    if server.kills:
        title = (
            f"{name}: it cannot roam: its server ends all processes of a user at logout (KillUserProcesses)"
        )
        why = "It works as a plain host: its sessions end when the network changes."
        remedy = "Make `systemd-run --user --scope` work there"
        yield advice("roaming-processes-end", title, why, *_or_turn_off(name, remedy), host=name)
    patience_s = _client_alive_s(server)
    if patience_s is not None and patience_s < roam_for_s:
        title = f"{name}: its sshd ends sessions that do not answer for {patience_s} s"
        why = "They end if the laptop is away for longer than that. No setting of trayagent changes this."
        remedy = "Ask the server's administrator for a longer time in sshd_config, for example:"
        yield advice("roaming-client-alive", title, why, remedy, "ClientAliveInterval 0", host=name)


def _client_alive_s(server: RoamingServer) -> int | None:
    """Return after how many seconds without an answer sshd ends a connection, None if it never does."""
    interval, count = server.sshd.get("clientaliveinterval", "0"), server.sshd.get("clientalivecountmax", "")
    if not interval.isdecimal():
        return None  # sshd also accepts "10m"; skip it: that is long enough for most moves
    number = int(count) if count.isdecimal() else _COUNT_MAX_DEFAULT
    return int(interval) * number or None


def _cannot(name: str, reason: str, code: str, remedy: str) -> Finding:
    title = f"{name}: it cannot roam: {reason}"
    why = "It works as a plain host: its sessions end when the network changes."
    return problem(f"roaming-{code}", title, why, *_or_turn_off(name, remedy), host=name)


def _or_turn_off(name: str, remedy: str) -> tuple[str, str, str]:
    return (f"{remedy}, or set in the configuration:", f"[{dotted('hosts', name)}]", "roam = false")
