"""Checks whether the agent starts at login, and whether it outlives the session."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from trayagent.desktop.autostart import method_in_use
from trayagent.desktop.autostart.linux_systemd import linger_command
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case, shown

LINGER = Path("/var/lib/systemd/linger")
_EXEC = re.compile(r"^Exec(?:Start)?=(.*)$", re.MULTILINE)


async def check(case: Case) -> Iterable[Finding]:
    """Report whether the agent starts at login, and whether the unit or entry for that still works."""
    method = method_in_use(case.env)
    if method is None:
        why = "After the next login, your connections are not kept until you start the agent."
        return [
            advice(
                "login-off", "The agent does not start at login", why, "To enable it:", "trayagent install"
            )
        ]
    file = method.file()
    if (program := missing_program(file)) is not None:
        title = f"The program that starts at login is missing: {program}"
        why = f"{shown(file)} refers to that program, which was moved or removed."
        remedy = "To write it again with your current trayagent:"
        return [problem("login-broken", title, why, remedy, "trayagent install")]
    if (renewed := method.renewed()) is not None and renewed != file.read_bytes():
        title = "The file that starts the agent at login is not as this version writes it"
        why = f"Another version wrote {shown(file)}, or it was edited."
        remedy = "To write it again with the same command:"
        return [advice("login-outdated", title, why, remedy, "trayagent install --refresh")]
    return [ok(f"by {shown(file)}", _lasting(method.name))]


def missing_program(path: Path) -> str | None:
    """Return the program of a unit or an autostart entry if the program does not exist. Otherwise return None."""
    found = _EXEC.search(path.read_text(errors="replace"))
    words = shlex.split(found[1].replace("%%", "%")) if found else []
    return words[0] if words and shutil.which(words[0]) is None else None


def _lasting(method: str) -> str:
    """Return a note if the agent starts in a desktop only, or if systemd ends it with the user's last session."""
    if method == "autostart":
        return "Only a desktop session reads this file: no other login starts the agent."
    if method != "systemd" or (LINGER / _user()).exists():
        return ""
    keep = linger_command(_user())
    return f"The agent ends with your last session. To keep it running, and start it at boot: {keep}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
