"""Parse the text of systemd units; pure.

Sources: systemd.syntax(7), systemd.service(5), systemd.unit(5).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

Unit = dict[str, list[str]]
"""The values of each "Section.Key" in their order. In systemd, an empty value drops the values before it."""

_PREFIXES = "@-:+!|"
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_SPECIFIER = re.compile(r"%(.)")
_C_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{3}|.)", re.DOTALL)
_C_SIGNS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}


def parse(*texts: str) -> Unit:
    """Return the settings of a unit and its drop-ins, given in the order in which systemd reads them."""
    unit: Unit = {}
    for text in texts:
        section = ""
        for line in _logical_lines(text):
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1]
                continue
            key, equals, value = line.partition("=")
            if not equals:
                continue
            name = f"{section}.{key.strip()}"
            if value.strip():
                unit.setdefault(name, []).append(value.strip())
            else:
                unit[name] = []
    return unit


def _logical_lines(text: str) -> Iterator[str]:
    """Join continued lines and leave out the comments between them."""
    joined = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not joined):
            continue
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        if joined + line:
            yield (joined + line).strip()
        joined = ""
    if joined.strip():
        yield joined.strip()


def specifiers(name: str, known: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each % specifier in the unit of this name. `known` has those of the manager (h, u, …)."""
    stem = name.rpartition(".")[0]
    prefix, at, instance = stem.partition("@")
    last = prefix.rpartition("-")[2]
    return {
        **known,
        "n": name, "N": stem, "p": prefix, "P": unescape(prefix), "j": last, "J": unescape(last),
        "i": instance if at else "", "I": unescape(instance) if at else "", "%": "%",
        "f": "/" + unescape(instance if at else prefix).lstrip("/"),
    }  # fmt: skip


def unescape(text: str) -> str:
    r"""Undo systemd-escape in a name: `-` becomes a slash, `\x2d` a character."""
    return re.sub(r"\\x([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), text.replace("-", "/"))


def resolved(text: str, table: Mapping[str, str]) -> str:
    """Substitute the specifiers in a text. Keep unknown specifiers as they are."""
    return _SPECIFIER.sub(lambda m: table.get(m[1], m[0]), text)


def environment(unit: Unit, files: Sequence[str], table: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of Environment= and of the texts of EnvironmentFile=. The latter take precedence.

    Raises ValueError for an unterminated quote.
    """
    found: dict[str, str] = {}
    for value in unit.get("Service.Environment", ()):
        for word in words(value):
            name, equals, text = resolved(word, table).partition("=")
            if equals:
                found[name] = text
    for file in files:
        found |= _env_file(file)
    return found


def _env_file(text: str) -> dict[str, str]:
    found = {}
    for raw in text.replace("\\\n", "").splitlines():
        line = raw.strip()
        name, equals, value = line.partition("=")
        if not equals or line.startswith(("#", ";")):
            continue
        try:
            found[name.strip()] = "".join(shlex.split(value)) if value.strip()[:1] in "\"'" else value.strip()
        except ValueError:
            found[name.strip()] = value.strip()
    return found


def commands(unit: Unit, env: Mapping[str, str], table: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield the words of each ExecStart command. Raises ValueError for an unterminated quote."""
    for value in unit.get("Service.ExecStart", ()):
        stripped = value.lstrip(_PREFIXES)
        prefix = value[: len(value) - len(stripped)]
        line = [resolved(word, table) for word in words(stripped)]
        if "@" in prefix:
            del line[1:2]  # with @, the second word is only a displayed name
        if ":" not in prefix:
            line = list(_substituted(line, env))
        while ";" in line:  # one line may have several commands
            at = line.index(";")
            yield line[:at]
            line = line[at + 1 :]
        yield line


def words(text: str) -> list[str]:
    r"""Split a text as systemd does: with quotes and C escapes. `\` before another character is kept."""
    found: list[str] = []
    word: str | None = None
    quote = ""
    at = 0
    while at < len(text):
        sign = text[at]
        if sign == "\\" and at + 1 < len(text):
            match = _C_ESCAPE.match(text, at)
            assert match is not None  # noqa: S101  # a backslash and one more character
            word = (word or "") + _unescaped(match[1])
            at = match.end()
            continue
        if quote:
            word, quote = (word, "") if sign == quote else ((word or "") + sign, quote)
        elif sign in "\"'":
            word, quote = word or "", sign
        elif sign.isspace():
            if word is not None:
                found.append(word)
            word = None
        else:
            word = (word or "") + sign
        at += 1
    if quote:
        msg = "a quote is not closed"
        raise ValueError(msg)
    return [*found, word] if word is not None else found


def _unescaped(escape: str) -> str:
    if escape[0] == "x" and len(escape) == 3:
        return chr(int(escape[1:], 16))
    if len(escape) == 3:
        return chr(int(escape, 8))
    return _C_SIGNS.get(escape, escape)


def _substituted(line: Sequence[str], env: Mapping[str, str]) -> Iterator[str]:
    """Substitute variables: ${NAME} inside a word. $NAME must be a whole word, and its value is split at spaces."""
    for word in line:
        if re.fullmatch(r"\$\w+", word):
            yield from (env[word[1:]].split() if word[1:] in env else [word])
        else:
            yield _VARIABLE.sub(lambda m: env.get(m[1], m[0]), word).replace("$$", "$")
