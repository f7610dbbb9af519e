"""Checks the ssh program: whether it exists and is new enough, and which features its version lacks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable

from trayagent.doctor.deadlines import run_program
from trayagent.doctor.findings import Finding, ok, problem
from trayagent.doctor.gather_facts import Case

OLDEST = (8, 7)
"""The first version with ForkAfterAuthentication, which a master in the foreground needs (release notes)."""
PATIENT = (9, 4)
"""From this version on, ConnectTimeout also limits how long a client waits for the greeting of a master."""

_VERSION = re.compile(r"OpenSSH_(?:for_Windows_)?(\d+)\.(\d+)(\S*?),? ")


async def check(case: Case) -> Iterable[Finding]:
    """Report which ssh the agent uses, and what its version cannot do."""
    program = case.file_paths.ssh
    install = "Install OpenSSH's client (Debian: sudo apt-get install openssh-client), or set TRAYAGENT_SSH."
    try:
        answer = await run_program([program, "-V"])
    except OSError as error:
        title = f"{program} cannot be run: {error.strerror or error}"
        return [problem("ssh-missing", title, "The agent makes every connection with it.", install)]
    words = f"{answer.errors}{answer.output}".strip()
    version = _VERSION.search(f"{words} ")
    if version is None:
        title = f"{program} is not OpenSSH: {words.splitlines()[0] if words else 'it prints no version'}"
        return [problem("ssh-unknown", title, "The agent supports only masters of OpenSSH.", install)]
    number = (int(version[1]), int(version[2]))
    name = f"OpenSSH {version[1]}.{version[2]}{version[3]}"
    if number < OLDEST:
        why = "It does not have ForkAfterAuthentication, which a master needs."
        return [problem("ssh-too-old", f"{name} is too old: 8.7 or newer is needed", why, install)]
    note = (
        "Before 9.4 a plain ssh waits forever for a master that is stopped or stuck. The agent does not."
        if number < PATIENT
        else ""
    )
    return [ok(f"{name}, {shutil.which(program) or program}", note)]
