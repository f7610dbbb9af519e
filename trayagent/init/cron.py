"""Find the lines of crontabs that run ssh or autossh; crontab(5)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping

from trayagent.init.found_on_machine import Finding, Found, Machine, Skipped, autossh_only, text_of
from trayagent.init.shell_calls import calls

_SETTING = re.compile(r"([A-Za-z_]\w*)\s*=\s*(.*)")
_SCHEDULE = re.compile(r"(@\w+|(?:\S+\s+){4}\S+)\s+(.*)")
_ANSWER_WITHIN_S = 5.0


def find(machine: Machine) -> Iterator[Finding]:
    """Yield the calls of this user's crontab, then those of the system's crontabs that run as this user."""
    text = _own(machine.env)
    if isinstance(text, Skipped):
        yield text
    elif text is not None:
        yield from lines(machine, "crontab", text)
    folder = machine.root / "etc/cron.d"
    try:
        files = sorted(folder.iterdir())
    except OSError:
        files = []
    for file in (machine.root / "etc/crontab", *files):
        found = text_of(file)
        if isinstance(found, Skipped):
            yield found
        elif found is not None:
            yield from lines(machine, str(file), found, with_user=True)


def lines(machine: Machine, name: str, text: str, *, with_user: bool = False) -> Iterator[Finding]:
    """Yield the calls in the text of a crontab. `with_user`: the lines have a user column, as in a system crontab."""
    variables = machine.variables
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        where = f"{name} line {number}"
        if not line or line.startswith("#"):
            continue
        if setting := _SETTING.fullmatch(line):
            variables[setting[1]] = setting[2].strip().strip("\"'")
        elif (match := _SCHEDULE.fullmatch(line)) and "ssh" in match[2]:
            how = f"remove that line from {name}" if with_user else "remove that line with: crontab -e"
            yield from _line(machine, where, match[2], variables, how, with_user)


def _line(
    machine: Machine, where: str, text: str, variables: Mapping[str, str], switch_off: str, with_user: bool
) -> Iterator[Finding]:
    command = text
    if with_user:
        user, *behind = text.split(None, 1)  # separated by spaces or tabs
        command = "".join(behind)
        if user != machine.user:
            yield Skipped(where, f"runs as {user}, whose keys are not yours")
            return
    command = re.sub(r"(?<!\\)%.*", "", command).replace(
        "\\%", "%"
    )  # the text after a % is input, not command
    try:
        for call in calls(command, variables):
            if call.as_other:
                yield Skipped(where, "runs as another user, whose keys are not yours")
                continue
            yield Found(
                "cron", where, tuple(call.words), autossh_only(call.env), machine.home, switch_off=switch_off
            )
    except ValueError as error:
        yield Skipped(where, str(error))


def _own(env: Mapping[str, str]) -> str | Skipped | None:
    """Return what `crontab -l` prints, None if there is no crontab or no such program."""
    try:
        done = subprocess.run(
            ["crontab", "-l"],
            env=dict(env),
            capture_output=True,
            timeout=_ANSWER_WITHIN_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError:
        return None
    except subprocess.TimeoutExpired:
        return Skipped("crontab", f"`crontab -l` took longer than {_ANSWER_WITHIN_S:g} s")
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else None
