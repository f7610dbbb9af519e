"""Find aliases and functions of the user's shells that run autossh or an ssh tunnel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from trayagent.init.found_on_machine import Finding, Found, Machine, Skipped, autossh_only, text_of
from trayagent.init.shell_calls import calls
from trayagent.ssh.command_line import NotUnderstood, parse

_FILES = (
    ".profile", ".bashrc", ".bash_profile", ".bash_login", ".bash_aliases", ".bash_functions", ".aliases",
    ".zshenv", ".zprofile", ".zshrc", ".zlogin", ".zsh_aliases", ".kshrc", ".mkshrc", ".cshrc", ".tcshrc",
    ".config/fish/config.fish", ".config/fish/conf.d/*.fish", ".config/fish/functions/*.fish", ".bashrc.d/*",
    ".zshrc.d/*", ".config/zsh/.zshrc",
)  # fmt: skip
_ALIAS = re.compile(r"\s*(?:alias|abbr)\s+((?:-\S+\s+)*)([\w.:@+-]+)(?:=|\s+)(.+)", re.DOTALL)
_FUNCTION = re.compile(r"\s*(?:function\s+([\w.:@+-]+)|([\w.:@+-]+)\s*\(\))")
_END = re.compile(r"\s*(?:\}|end)\s*(?:[;#].*)?")
_MENTIONS = re.compile(r"\bssh\b|\bautossh\b")
_LONGEST = 30
"""The most lines of a quoted text. If it seems longer, a quote was misread."""
_ARGUMENTS = frozenset(("$@", "$*", "$argv"))


def find(machine: Machine) -> Iterator[Finding]:
    """Yield the calls in the files that the user's shells read."""
    for pattern in _FILES:
        for file in sorted(machine.home.glob(pattern)):
            text = text_of(file)
            if isinstance(text, Skipped):
                yield Skipped(machine.shown(file), text.why)
            elif text is not None and _MENTIONS.search(text):
                yield from lines(machine, file, text)


def lines(machine: Machine, file: Path, text: str) -> Iterator[Finding]:
    """Yield the calls in the text of one shell file."""
    function: str | None = None
    variables = machine.variables
    for number, line in _logical(text):
        where = f"{machine.shown(file)} line {number}"
        alias = _ALIAS.fullmatch(line)
        if opened := _FUNCTION.match(line):
            function = opened[1] or opened[2]
        if match := re.fullmatch(
            r"\s*(?:export\s+)?([A-Za-z_]\w*)=([\w./:@-]*|'[^']*'|\"[^\"$`]*\")\s*", line
        ):
            variables[match[1]] = match[2].strip("\"'")
        if _MENTIONS.search(line):
            named = f"alias {alias[2]}" if alias else f"function {function}" if function else "a command"
            yield from _calls(machine, where, named, _body(alias[3]) if alias else line, variables)
        if _END.fullmatch(line) or (opened and re.search(r"\}\s*$", line)):
            function = None


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers. Join lines that a backslash or, in commands with ssh, a quote continues."""
    rows = text.splitlines()
    at = 0
    while at < len(rows):
        begin, line = at, rows[at]
        at += 1
        while line.endswith("\\") and at < len(rows):
            line = line[:-1] + " " + rows[at]
            at += 1
        if _MENTIONS.search(line) and _open_quote(line):
            last = next(
                (n for n in range(at, min(at + _LONGEST, len(rows))) if _closes(line, rows[at : n + 1])), None
            )
            if last is not None:
                line, at = "\n".join([line, *rows[at : last + 1]]), last + 1
        yield begin + 1, line


def _open_quote(line: str) -> bool:
    try:
        list(calls(line, {}))
    except ValueError:
        return True
    return False


def _closes(line: str, rows: list[str]) -> bool:
    return not _open_quote("\n".join([line, *rows]))


def _body(quoted: str) -> str:
    """Return the text of an alias without its quotes."""
    text = quoted.strip()
    if text[:1] in {"'", '"'} and text.find(text[0], 1) > 0:
        inside = text[1 : text.rindex(text[0])]
        return inside if text[0] == "'" else inside.replace('\\"', '"').replace("\\$", "$")
    return text


def _calls(
    machine: Machine, where: str, name: str, text: str, variables: dict[str, str]
) -> Iterator[Finding]:
    try:
        found = list(calls(text, variables))
    except ValueError as error:
        yield Skipped(where, str(error))
        return
    for call in found:
        words = tuple(word for word in call.words if word not in _ARGUMENTS)
        try:
            if call.as_other or not parse(words).keeps:
                continue
        except NotUnderstood:
            continue  # an alias for plain ssh keeps no connection
        yield Found(
            "shell",
            f"{name} ({where})",
            words,
            autossh_only(call.env),
            machine.home,
            by_hand=True,
        )
