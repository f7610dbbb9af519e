"""Checks host keys: whether the server's key is known, and whether ssh checks it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from trayagent.config.model import Host
from trayagent.core.facts.resolved import Resolved
from trayagent.doctor.deadlines import each, run_program
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case

ANSWER_WITHIN_S = 3.0
_AT_ONCE = 8


async def check(case: Case) -> Iterable[Finding]:
    """Report servers whose host key is unknown, and servers whose host key ssh does not check."""
    wanted = [*case.wanted()]

    async def one(host: tuple[str, Host, Resolved]) -> Finding | None:
        return await _examine(case, host[0], host[2])

    found, late = await each(wanted, one, at_once=_AT_ONCE, within_s=ANSWER_WITHIN_S)
    findings = [finding for finding in found if finding is not None]
    if late:
        title = f"The keys of {len(late)} hosts could not be checked in time"
        why = "There are many hosts, or known_hosts is large. The others were checked."
        findings.append(
            advice("check-late", title, why, "To check one of them:", f"ssh-keygen -F {late[0][2].hostname}")
        )
    return findings or (
        [ok("every server's key is known, or ssh accepts it at the first login")] if wanted else []
    )


async def _examine(case: Case, name: str, resolved: Resolved) -> Finding | None:
    if resolved.strict_host_key_checking == "no":
        return _unchecked(case, name)
    if (
        resolved.strict_host_key_checking == "accept-new"
        or _elsewhere(resolved)
        or case.state(name) == "connected"
    ):
        return None
    if await _known(case, _name(resolved), resolved):
        return None
    title = f"{name}: its host key is not known"
    why = "An automatic login cannot show you the key to compare, so there is no automatic login."
    remedy = "Log in once, compare the key with the server's own, and accept it:"
    return problem("host-key-unknown", title, why, remedy, f"trayagent login {name}", host=name)


def _unchecked(case: Case, name: str) -> Finding:
    title = f"{name}: with StrictHostKeyChecking no, any machine can impersonate the server"
    why = (
        "On another network the address may belong to another machine. "
        "If the address is private, the agent connects only on networks where it reached the host before."
    )
    lines = (f"Host {name}", "    StrictHostKeyChecking accept-new")
    return advice("host-key-unchecked", title, why, f"Change it in {case.ssh_config}:", *lines, host=name)


def _elsewhere(resolved: Resolved) -> bool:
    """Report whether ssh may get the key from a program or from DNS."""
    return resolved.known_hosts_command is not None or resolved.verify_host_key_dns


def _name(resolved: Resolved) -> str:
    """Return the name that known_hosts uses for the server: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT."""
    if resolved.host_key_alias is not None:
        return resolved.host_key_alias
    host = resolved.hostname.lower()
    return host if resolved.port == 22 else f"[{host}]:{resolved.port}"


async def _known(case: Case, name: str, resolved: Resolved) -> bool:
    """Report whether ssh-keygen finds the key. It knows hashed names, patterns and certificate authorities."""
    program = _beside(case.file_paths.ssh)
    files = (*resolved.user_known_hosts, *resolved.global_known_hosts)
    for file in (Path(text).expanduser() for text in files):
        if not file.is_file():
            continue
        answer = await run_program([program, "-F", name, "-f", str(file)])
        lines = [line for line in answer.output.splitlines() if line and not line.startswith("#")]
        if any(not line.startswith("@revoked") for line in lines):
            return True
    return False


def _beside(ssh: str) -> str:
    """Return the path of ssh-keygen in the directory of `ssh`, or "ssh-keygen" if it is not there."""
    found = shutil.which(ssh)
    near = Path(found).with_name("ssh-keygen") if found else None
    return str(near) if near is not None and near.exists() else "ssh-keygen"
