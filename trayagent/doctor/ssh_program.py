"""The ssh program: that it is there, that it is new enough, and what its version changes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable

from trayagent.doctor.context import Case
from trayagent.doctor.deadlines import said
from trayagent.doctor.findings import Finding, ok, problem

OLDEST = (8, 7)
"""ForkAfterAuthentication, which a master in the foreground needs (its release notes)."""
PATIENT = (9, 4)
"""From here on ConnectTimeout bounds the wait for a master's greeting, too."""

_VERSION = re.compile(r"OpenSSH_(?:for_Windows_)?(\d+)\.(\d+)(\S*?),? ")


async def check(case: Case) -> Iterable[Finding]:
    """Say which ssh is used, and what follows from its version."""
    program = case.places.ssh
    install = "Install OpenSSH's client (Debian: sudo apt-get install openssh-client), or set TRAYAGENT_SSH."
    try:
        answer = await said([program, "-V"])
    except OSError as error:
        title = f"{program} cannot be run: {error.strerror or error}"
        return [problem("ssh-missing", title, "Every connection is made by it.", install)]
    words = f"{answer.errors}{answer.output}".strip()
    version = _VERSION.search(f"{words} ")
    if version is None:
        title = f"{program} is not OpenSSH: {words.splitlines()[0] if words else 'it tells no version'}"
        return [problem("ssh-unknown", title, "Only OpenSSH has masters that can be spoken to.", install)]
    number = (int(version[1]), int(version[2]))
    name = f"OpenSSH {version[1]}.{version[2]}{version[3]}"
    if number < OLDEST:
        why = "It does not know ForkAfterAuthentication, without which no master can be started."
        return [problem("ssh-too-old", f"{name} is too old: 8.7 is the oldest that serves", why, install)]
    note = (
        "Before 9.4 a plain ssh waits forever for a master that is stopped or stuck. The agent does not."
        if number < PATIENT
        else ""
    )
    return [ok(f"{name}, {shutil.which(program) or program}", note)]
