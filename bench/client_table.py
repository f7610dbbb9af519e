"""Measures how programs that use ssh survive events, and prints the tables of docs/clients.md."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.client_runs import CONTESTANTS, EVENTS, GIVE_UP_S, Result, run
from bench.clients import CLIENTS, path
from trayagent.errors import TrayagentError

KEYS = tuple(CLIENTS)
# The number of parallel runs. Each run has its own laboratory and mostly waits.
AT_ONCE = 4
# The command that prints the version of a program.
_VERSIONS = {
    "ssh": ("ssh", "-V"),
    "git": ("git", "--version"),
    "rsync": ("rsync", "--version"),
    "sshfs": ("sshfs", "--version"),
    "ansible": ("ansible-playbook", "--version"),
    "tmux": ("tmux", "-V"),
    "sshuttle": ("sshuttle", "--version"),
    "mosh": ("mosh", "--version"),
}


def measure(keys: Sequence[str], say: Callable[[str], None]) -> None:
    """Run each of these programs through each event with each contestant, and print the tables in Markdown."""
    begin_load = os.getloadavg()[1]
    todo = [(key, event, name) for event in EVENTS for name in CONTESTANTS for key in keys]
    # Start the slowest contestant first, so that the parallel runs end at about the same time.
    todo.sort(key=lambda one: list(CONTESTANTS).index(one[2]), reverse=True)

    def measured(one: tuple[str, str, str]) -> Result:
        key, event, name = one
        try:
            found = run(CLIENTS[key], event, CONTESTANTS[name])
        except (TrayagentError, OSError, subprocess.TimeoutExpired) as error:
            found = Result(trouble=str(error).partition("\n")[0])
        print(f"{event} {name}: {CLIENTS[key].title}: {cell(found)}", file=sys.stderr, flush=True)  # noqa: T201
        return found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(todo, pool.map(measured, todo), strict=True))
    for event, title in EVENTS.items():
        say(f"\n## {title[0].upper()}{title[1:]}\n")
        for line in table(
            keys, {(key, name): found[key, event, name] for key in keys for name in CONTESTANTS}
        ):
            say(line)
    load = f"{begin_load:.1f} to {os.getloadavg()[1]:.1f}"
    machine = f"{os.cpu_count()} processors, Linux {platform.release()}, load {load}, {AT_ONCE} runs at once"
    say(f"\nMeasured on {time.strftime('%d %B %Y').lstrip('0')}: {machine}. {versions()}.")


def table(keys: Sequence[str], found: Mapping[tuple[str, str], Result]) -> list[str]:
    """Return the lines of one event's table."""
    heads = [f"{name}: what is open | next run" for name in CONTESTANTS]
    lines = [f"| program | {' | '.join(heads)} |", "|---" * (1 + 2 * len(heads)) + "|"]
    for key in keys:
        cells = [cell(found[key, name]) for name in CONTESTANTS]
        lines.append(f"| {CLIENTS[key].title} | {' | '.join(cells)} |")
    return lines


def cell(found: Result) -> str:
    """Return the two cells of a result."""
    if found.trouble is not None:
        return f"not measured: {found.trouble} | -"
    what = found.what if found.open_s is None else f"{found.what}, {found.open_s:.1f} s"
    again = f"not within {GIVE_UP_S:.0f} s" if found.again_s is None else f"{found.again_s:.1f} s"
    return f"{what} | {again}"


def versions() -> str:
    """Return the versions of the programs that are installed."""
    found = []
    for name, words in _VERSIONS.items():
        try:
            done = subprocess.run(
                words, check=False, capture_output=True, text=True, env={**os.environ, "PATH": path()}
            )
        except FileNotFoundError:
            continue
        number = re.search(r"\d+\.\d[\w.]*", done.stdout + done.stderr)
        found.append(f"{'OpenSSH' if name == 'ssh' else name} {number[0] if number else '?'}")
    return ", ".join(found)
