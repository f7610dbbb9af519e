"""Implement `complete`: print the possible completions of the last word, for the shells.

Each line has the word, a tab, and its meaning. The single line `:files` lets the shell offer files. Errors
are ignored silently: a completion must not disturb the line being typed.
"""

from __future__ import annotations

import argparse

from trayagent.cli import command_descriptions as described
from trayagent.cli.output import print_line, request
from trayagent.errors import TrayagentError
from trayagent.presentation.text import clean

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from trayagent.config.model import Config

    Completions = dict[str, str]

ANSWER_WITHIN_S = 1.0
FILES = {":files": ""}
TIMES = {"10m": "", "30m": "", "2h": "", "1d": "", "7d": ""}
# Commands that list the sessions on a host, one per line. In screen's list, each line begins with PID.NAME.
SESSIONS = {
    "tmux": "tmux list-sessions -F '#S'",
    "screen": "screen -ls | awk '$1 ~ /^[0-9]+[.]/ { sub(/^[0-9]+[.]/, \"\", $1); print $1 }'",
}
# Commands that also accept a host that the agent does not know yet.
BEGINNERS = {"attach", "keep", "login", "reconnect"}


def add(commands: Any) -> None:
    """Add the command to the parser; it is for scripts, so the help omits it."""
    parser = commands.add_parser("complete", description="Prints completions of the last word, for shells.")
    parser.add_argument("words", nargs="*", metavar="WORD", help="what was typed after trayagent")
    parser.set_defaults(carry_out=complete)


def complete(args: argparse.Namespace) -> int:
    """Print the completions that start with the last word."""
    *before, current = args.words or [""]
    try:
        found = completions(before, current)
    except Exception:  # an error must not disturb the line being typed
        return 0
    for word, what in found.items():
        if word.startswith(current) or found is FILES:
            print_line(f"{clean(word)}\t{clean(what)}" if what else clean(word))
    return 0


def completions(before: list[str], current: str) -> Completions:
    """Return the words that may follow `before`, each with its meaning."""
    at = _command_at(before)
    if at is None:
        if before and before[-1] == "--config":
            return FILES
        if current.startswith("-"):
            return _options(described.global_options(), ())
        return {command.name: command.help for command in described.commands()}
    command = described.command(before[at])
    return _within(command, before[at + 1 :], current) if command is not None else {}


def _command_at(before: list[str]) -> int | None:
    """Return the index of the command among the words, None if the words contain no command yet."""
    at = 0
    while at < len(before):
        if not before[at].startswith("-"):
            return at
        at += 2 if before[at] == "--config" else 1
    return None


def _within(command: described.Command, before: list[str], current: str) -> Completions:
    """Return the completions for a word after a command."""
    options = {flag: option for option in command.options for flag in option.flags}
    wants, only_words, words = None, False, list[str]()
    for word in before:
        if wants is not None:
            wants = None
        elif only_words or not word.startswith("-") or word == "-":
            words.append(word)
        elif word == "--":
            only_words = True
        elif (option := options.get(word)) is not None and option.metavar:
            wants = option
    if wants is not None:
        return _values(wants, command, words)
    if current.startswith("-") and not only_words:
        return _options(command.options, before)
    left = len(words)
    for positional in command.positionals:
        if left < positional.most:
            return _values(positional, command, words)
        left -= positional.most
    return {}


def _options(options: Iterable[described.Argument], used: Iterable[str]) -> Completions:
    """Return the options that are not in `used` yet, each with its meaning."""
    gone = set(used)
    return {
        flag: option.help
        for option in options
        if option.repeatable or not gone.intersection(option.flags)
        for flag in option.flags
    }


def _values(argument: described.Argument, command: described.Command, words: list[str]) -> Completions:
    if argument.choices:
        return dict.fromkeys(argument.choices, "")
    find: Callable[[], Completions] | None = {
        "FILE": lambda: FILES,
        "TIME": lambda: TIMES,
        "HOST": lambda: _hosts(command.name, words if argument.repeatable else ()),
        "NAME": lambda: _sessions(words[0]) if words else {},
    }.get(argument.metavar)
    return find() if find is not None else {}


def _hosts(command: str, given: Iterable[str]) -> Completions:
    """Return the hosts from the agent or, without one, from the configuration, except those `given`."""
    found: Completions = {}
    try:
        found = {
            host["name"]: host["state"] for host in request("status", ANSWER_WITHIN_S, hosts=[])["hosts"]
        }
    except TrayagentError:  # no agent is running, or the agent is busy
        found = dict.fromkeys(_configuration().hosts, "listed")
    if command in BEGINNERS:
        found |= {name: "in ssh_config" for name in _aliases() if name not in found}
    return {name: state for name, state in found.items() if name not in set(given)}


def _configuration() -> Config:
    from trayagent.config import file_paths, load_file

    return load_file.load(file_paths.find().config_file)


def _aliases() -> tuple[str, ...]:
    from trayagent.config import file_paths
    from trayagent.ssh import ssh_config_text

    return tuple(
        alias
        for path in file_paths.find().ssh_config_files
        for alias in ssh_config_text.aliases(path)
        if alias not in ssh_config_text.THIS_MACHINE
    )


def _sessions(host: str) -> Completions:
    """Return the sessions on the host, listed through its living master; {} without a connection."""
    import asyncio

    from trayagent.ssh.remote import run_script

    [found] = request("status", ANSWER_WITHIN_S, hosts=[host])["hosts"]
    if found["state"] != "connected" or not found["control_path"]:
        return {}
    listed = _configuration().hosts.get(host)
    kind = "screen" if listed is not None and listed.session == "screen" else "tmux"
    lines = (
        asyncio.run(run_script.run(found["control_path"], SESSIONS[kind], timeout_s=ANSWER_WITHIN_S)) or []
    )
    return dict.fromkeys(filter(None, lines), f"{kind} session")
