"""Start at login, and whether the agent outlives the session."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from trayagent.desktop.autostart import way_in_use
from trayagent.doctor.context import Case, shown
from trayagent.doctor.findings import Finding, advice, ok, problem

LINGER = Path("/var/lib/systemd/linger")
_EXEC = re.compile(r"^Exec(?:Start)?=(.*)$", re.MULTILINE)


async def check(case: Case) -> Iterable[Finding]:
    """Say whether the agent starts at login, and what it would start."""
    way = way_in_use(case.env)
    if way is None:
        why = "After the next login no connection is kept until you start the agent."
        return [advice("login-off", "The agent does not start at login", why, "Let it:", "trayagent install")]
    if (program := missing_program(way.path)) is not None:
        title = f"What starts at login is not there any more: {program}"
        why = f"{shown(way.path)} names it; it was moved or removed."
        remedy = "Write it again with the trayagent that you use now:"
        return [problem("login-broken", title, why, remedy, "trayagent install")]
    return [ok(f"by {shown(way.path)}", _lasting(way.name))]


def missing_program(path: Path) -> str | None:
    """Return the program of a unit or an autostart entry, if it does not exist."""
    found = _EXEC.search(path.read_text(errors="replace"))
    words = shlex.split(found[1].replace("%%", "%")) if found else []
    return words[0] if words and shutil.which(words[0]) is None else None


def _lasting(way: str) -> str:
    """Return what a person should know about the end of the session; systemd ends the user's units with it."""
    if way != "systemd" or (LINGER / _user()).exists():
        return ""
    return "It ends with your last session; to let it survive, and start at boot: loginctl enable-linger"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
