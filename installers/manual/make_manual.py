"""Writes the manual page: fills trayagent.1.in with commands, options and keys from the program itself.

Usage: python installers/manual/make_manual.py [YYYY-MM-DD] > trayagent.1

The argument is the date of the page, by default today. The language is mdoc(7).
"""

from __future__ import annotations

import datetime as dt
import re
import sys
from pathlib import Path

from trayagent import __version__
from trayagent.cli import command_descriptions as described
from trayagent.config.key_descriptions import TABLES, Key, Table
from trayagent.config.model import EVENTS

TEMPLATE = Path(__file__).with_name("trayagent.1.in")


def manual(date: dt.date) -> str:
    """Return the page in mdoc."""
    known = described.global_options()
    parts = {
        "DATE": f"{date:%B} {date.day}, {date.year}",
        "VERSION": __version__,
        "GLOBAL_SYNOPSIS": "\n".join(
            f".Op {_option(option)}" for option in known if "-h" not in option.flags
        ),
        "GLOBAL_OPTIONS": _list(known),
        "COMMANDS": "\n".join(_command(command) for command in described.commands()),
        "TABLES": "\n".join(_table(table) for table in TABLES),
        "EVENTS": ",\n".join("\\%" + event.replace("-", r"\-") for event in EVENTS),
    }
    return re.sub(r"@([A-Z_]+)@", lambda found: parts[found[1]], TEMPLATE.read_text(encoding="utf-8"))


def _command(command: described.Command) -> str:
    """Return a command's paragraph: its usage, its description and its options."""
    options = [option for option in command.options if "-h" not in option.flags]
    words = [f"Ic {command.name}", *(_positional(argument) for argument in command.positionals)]
    words += [f"Op {_option(option)}" for option in options]
    lines = [f".It {' '.join(_nested(word) for word in words)}", *_text(command.description or command.help)]
    shown = [argument for argument in command.positionals if argument.help] + options
    if shown:
        lines += [".Pp", ".Bl -tag -width Ds -compact", _list(shown), ".El"]
    return "\n".join([*lines, *([".Pp", *_text(command.epilog)] if command.epilog else [])])


def _nested(word: str) -> str:
    """Return a macro in the form for use within a line, in which Oo and Oc enclose an optional part."""
    return f"Oo {word.removeprefix('Op ')} Oc" if word.startswith("Op ") else word


def _positional(argument: described.Argument) -> str:
    shown = f"Ar {argument.metavar}" + (" ..." if argument.repeatable else "")
    return f"Op {shown}" if argument.optional else shown


def _option(option: described.Argument) -> str:
    """Return an option with its value, by its longest name."""
    flag = max(option.flags, key=len)
    return f"Fl {flag[1:]}" + (f" Ar {option.metavar}" if option.metavar else "")


def _table(table: Table) -> str:
    """Return a table of the configuration: its purpose, and its keys with their defaults or examples."""
    keys = "\n".join(_key(table, key) for key in table.keys)
    return "\n".join(
        [f".Ss [{table.title}]", *_text(table.text), ".Pp", ".Bl -tag -width Ds -compact", keys, ".El"]
    )


def _key(table: Table, key: Key) -> str:
    value = table.shown(key).replace("-", r"\-").replace('"', r"\(dq")
    return "\n".join([f".It Cm {key.name} No = Li {value}", *_text(key.text)])


def _list(arguments: list[described.Argument]) -> str:
    lines = []
    for argument in arguments:
        value = f" Ar {argument.metavar}" if argument.metavar else ""
        names = " , ".join(f"Fl {flag[1:]}" for flag in argument.flags)
        lines += [f".It {names}{value}" if names else f".It{value}", *_text(argument.help)]
    return "\n".join(lines)


def _text(text: str) -> list[str]:
    """Return a text as lines of the page, one sentence each. `words` like these become bold."""
    safe = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...").replace("`", "\0")
    safe = re.sub(r"\0([^\0]+)\0", r"\\fB\1\\fP", safe).replace("\0", "`")
    safe = re.sub(r"\S*trayagent\S+", r"\%\g<0>", safe)  # a path must not be hyphenated
    lines = re.split(r"(?<=[.:;]) (?=[A-Z])|\n+", safe)
    # At the start of a line these characters would begin a macro.
    return [rf"\&{line}" if line[0] in ".'" else line for line in lines if line]


if __name__ == "__main__":
    day = dt.date.fromisoformat(sys.argv[1]) if sys.argv[1:] else dt.datetime.now().astimezone().date()
    sys.stdout.write(manual(day))
