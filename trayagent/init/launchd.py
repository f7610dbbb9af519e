"""Find the property lists of launchd that run ssh or autossh; launchd.plist(5)."""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from trayagent.init.found_on_machine import MAX_FILE, Finding, Found, Machine, Skipped, autossh_only
from trayagent.init.shell_calls import unwrapped

_EXTRAS = ("KeepAlive", "StartInterval", "ThrottleInterval")


def find(machine: Machine) -> Iterator[Finding]:
    """Yield the calls of the user's agents, then of the machine's agents and daemons."""
    for folder, domain in (
        (machine.home / "Library/LaunchAgents", f"gui/{machine.uid}"),
        (machine.root / "Library/LaunchAgents", f"gui/{machine.uid}"),
        (machine.root / "Library/LaunchDaemons", "system"),
    ):
        for file in sorted(folder.glob("*.plist")):
            yield from _file(machine, file, domain)


def _file(machine: Machine, file: Path, domain: str) -> Iterator[Finding]:
    try:
        data = file.read_bytes()
        if b"ssh" not in data:
            return
        job: Any = plistlib.loads(data) if len(data) <= MAX_FILE else None
    except OSError as error:
        yield Skipped(machine.shown(file), f"cannot be read: {error.strerror}")
        return
    except (
        ValueError,
        ExpatError,
        plistlib.InvalidFileException,
        RecursionError,
        OverflowError,
        LookupError,  # an unknown encoding
    ) as error:
        yield Skipped(machine.shown(file), f"is not a property list: {error}")
        return
    if not isinstance(job, dict):
        yield Skipped(machine.shown(file), "is not a property list of a job")
        return
    label = str(job.get("Label") or file.stem)
    env = machine.variables | _strings(job.get("EnvironmentVariables"))
    user = str(job.get("UserName") or (machine.user if domain != "system" else "root"))
    sudo = "sudo " if domain == "system" and machine.uid != 0 else ""
    try:
        calls = list(unwrapped(_words(job), env))
    except ValueError as error:
        yield Skipped(f"{label} ({machine.shown(file)})", str(error))
        return
    job_name = shlex.quote(f"{domain}/{label}")
    for call in calls:
        if user != machine.user or call.as_other:
            yield Skipped(f"{label} ({machine.shown(file)})", f"runs as {user}, whose keys are not yours")
            continue
        yield Found(
            "launchd",
            label,
            tuple(call.words),
            autossh_only(call.env),
            Path(str(job.get("WorkingDirectory") or "/")),
            active=not job.get("Disabled", False),
            switch_off=f"{sudo}launchctl bootout {job_name}; {sudo}launchctl disable {job_name}",
            extras=tuple(key for key in _EXTRAS if key in job),
        )


def _words(job: dict[str, Any]) -> list[str]:
    """Return the program and its arguments. If `Program` is set, the first argument is only a displayed name."""
    given = job.get("ProgramArguments")
    words = [str(word) for word in given] if isinstance(given, list) else []
    if isinstance(job.get("Program"), str):
        words[:1] = [job["Program"]]
    return words


def _strings(table: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in table.items()} if isinstance(table, dict) else {}
