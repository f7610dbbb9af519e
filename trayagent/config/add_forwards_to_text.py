"""Add forwards to the text of a configuration, and change nothing else, not even comments; pure.

The result is parsed as a check. If it has any other difference from the old configuration than the new forwards,
CannotEdit is raised.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from trayagent.core.facts.forwards import ForwardKind
from trayagent.dotted_key import dotted

NEW_HOST = 'connect = "on-use"'
"""If a host gets a table only for its forwards, the agent must not connect it more often than before."""

Added = Mapping[ForwardKind, Sequence[str]]

_CLOSE, _SKIPPED = "]", " \t\r\n"
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|.', re.DOTALL)


class CannotEdit(ValueError):  # noqa: N818  # the name says what happened
    """The text has a form that this module does not change."""


def with_forwards(text: str, host: str, added: Added) -> str:
    """Return the text with these forwards in the host's table. Add the table if it is missing.

    Skip forwards that the table already has. Raises CannotEdit, and tomllib.TOMLDecodeError.
    """
    expected = deepcopy(tomllib.loads(text))
    is_new = host not in expected.get("hosts", {})
    new = text + _table(host, text) if is_new else text
    table: dict[str, Any] = expected.setdefault("hosts", {}).setdefault(host, {})
    if is_new:
        table["connect"] = "on-use"
    for kind, specs in added.items():
        have = table.get(kind, [])
        for spec in specs:
            if spec not in have:
                new = _with_value(new, host, kind, json.dumps(spec, ensure_ascii=False))
                have = table[kind] = [*have, spec]
    try:
        same = tomllib.loads(new) == expected
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise CannotEdit(f"the table of {host} is written in an unusual form")
    return new


def _table(host: str, text: str) -> str:
    before = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return f"{before}[{dotted('hosts', host)}]\n{NEW_HOST}\n"


def _with_value(text: str, host: str, key: str, value: str) -> str:
    start, end = _section(text, host)
    found = re.compile(rf'^[ \t]*(?:{key}|"{key}"|\'{key}\')[ \t]*=[ \t]*\[', re.MULTILINE).search(
        text, start, end
    )
    if found is not None:
        return _in_array(text, found.end(), value)
    last = start
    at = start
    for line in text[start:end].splitlines(keepends=True):
        at += len(line)
        if line.strip() and not line.lstrip().startswith("#"):
            last = at
    before = "" if text[:last].endswith("\n") else "\n"
    return f"{text[:last]}{before}{key} = [{value}]\n{text[last:]}"


def _section(text: str, host: str) -> tuple[int, int]:
    """Return where the lines of a host's table begin and end, without the header."""
    start: int | None = None
    at = 0
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            if start is not None:
                return start, at
            if _is_header(line, host):
                start = at + len(line)
        at += len(line)
    if start is None:
        raise CannotEdit(f"no line [{dotted('hosts', host)}] begins its table")
    return start, at


def _is_header(line: str, host: str) -> bool:
    try:
        return tomllib.loads(line) == {"hosts": {host: {}}}
    except tomllib.TOMLDecodeError:
        return False


def _in_array(text: str, opened: int, value: str) -> str:
    """Return the text with one more value at the end of the array that begins at `opened`."""
    last = opened - 1  # the last character of a value, a comma or the bracket
    close = None
    for token in _TOKEN.finditer(text, opened):
        word = token[0]
        if word == _CLOSE:
            close = token.start()
            break
        if word not in _SKIPPED and not word.startswith("#"):
            last = token.end() - 1
    if close is None:
        raise CannotEdit("an array does not end")
    sign, line_end = text[last], text.find("\n", last)
    comma = "" if sign in "[," else ","
    if 0 <= line_end < close:
        begin = text.rfind("\n", 0, last) + 1
        indent = re.match(r"[ \t]*", text[begin:])
        spaces = (indent[0] if indent else "") + ("    " if sign == "[" else "")
        if text[last + 1 : line_end].endswith("\r"):
            line_end -= 1
        return f"{text[: last + 1]}{comma}{text[last + 1 : line_end]}\n{spaces}{value},{text[line_end:]}"
    space = "" if sign == "[" else " "
    tail = "," if sign == "," else ""
    return f"{text[: last + 1]}{comma}{space}{value}{tail}{text[last + 1 :]}"
