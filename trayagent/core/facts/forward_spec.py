"""Parses the argument of ssh -L, -R and -D exactly as ssh does, and writes it back; pure.

The grammar is parse_forward() of OpenSSH's readconf.c. Fields are separated by colons. A field in square brackets is
literal, a backslash quotes the next character, and a field with a slash is a Unix path. Service names and ${VARIABLES}
depend on the machine, so they are rejected with a message.
"""

from __future__ import annotations

from typing import NoReturn

from msgspec import Struct

from trayagent.core.facts.forwards import End, Forward, ForwardKind

MAX_UNIX_PATH = 107
"""The longest path, in bytes, that fits into sun_path on Linux before its NUL. ssh rejects longer paths."""
MAX_HOST = 1024
"""The longest host name, in characters, that ssh accepts (NI_MAXHOST without its NUL)."""

_OPTION: dict[ForwardKind, str] = {"local": "-L", "remote": "-R", "dynamic": "-D"}
_EXAMPLE: dict[ForwardKind, str] = {
    "local": "8080:localhost:80",
    "remote": "2222:localhost:22",
    "dynamic": "1080",
}


class _Field(Struct, frozen=True):
    text: str
    is_path: bool


class _Bad(Exception):  # noqa: N818  # holds half a sentence, from which `parse` makes the error
    pass


def parse(kind: ForwardKind, spec: str) -> Forward:
    """Return the forward that ssh would open for the argument.

    Raises ValueError with a message that says what is wrong and gives an example.
    """
    try:
        listen, target = _ends(kind, _split(_plain(spec)))
    except _Bad as bad:
        message = f'"{_shown(spec)}" {bad}; ssh {_OPTION[kind]} takes for example {_EXAMPLE[kind]}'
        raise ValueError(message) from None
    return Forward(kind, listen, target, spec)


def unparse(listen: End, target: End | None) -> str:
    """Return an argument from which `parse` makes these two ends."""
    return ":".join(part for end in (listen, target) if end is not None for part in _parts(end))


def _parts(end: End) -> list[str]:
    if end.path is not None:
        return [_quoted(end.path)]
    return [*([_quoted(end.host)] if end.host else []), str(end.port)]


def _quoted(text: str) -> str:
    # `parse` strips leading spaces, and takes a leading hyphen for an option.
    if not set(text) & set(":[]\\") and not text.startswith((" ", "-")):
        return text
    if "]" not in text:
        return f"[{text}]"
    return "".join(f"\\{sign}" if at == 0 or sign in ":[]\\" else sign for at, sign in enumerate(text))


def _shown(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]


def _plain(spec: str) -> str:
    """Return the text without leading spaces.

    Reject text that ssh could take for an option, or that would garble a line of a log or terminal.
    """
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in spec):
        _bad("has control characters")
    text = spec.lstrip(" ")
    if not text:
        _bad("is empty")
    if text.startswith("-"):
        _bad("begins with - and would be an option")
    if "${" in text:
        _bad("has a ${VARIABLE}, which only a shell's environment knows: write its value")
    return text


def _split(text: str) -> list[_Field]:
    fields: list[_Field] = []
    rest: str | None = text
    while rest:
        field, rest = _bracketed(rest) if rest.startswith("[") else _bare(rest)
        fields.append(field)
    return fields


def _bracketed(text: str) -> tuple[_Field, str | None]:
    inside, closed, after = text[1:].partition("]")
    if not closed:
        _bad("has a [ without its ]")
    if after and not after.startswith(":"):
        _bad("has something between ] and the next colon")
    return _Field(inside, "/" in inside), after[1:]


def _bare(text: str) -> tuple[_Field, str | None]:
    taken: list[str] = []
    signs = iter(enumerate(text))
    for at, sign in signs:
        if sign == ":":
            return _Field("".join(taken), "/" in taken), text[at + 1 :]
        if sign == "\\":
            _, sign = next(signs, (at, ""))  # noqa: PLW2901  # a backslash quotes the next character
            if not sign:
                _bad("ends with a backslash")
        taken.append(sign)
    return _Field("".join(taken), "/" in taken), None


def _ends(kind: ForwardKind, fields: list[_Field]) -> tuple[End, End | None]:
    """Return the two ends. The form depends on the number of fields and on which of them are paths."""
    shape = "".join("/" if field.is_path else "." for field in fields)
    lowest = 0 if kind == "remote" else 1  # only a server can choose a port (0)
    if kind != "dynamic":
        match shape:
            case "//":
                return _path(fields[0]), _path(fields[1])
            case "./":
                return _listen(fields[:1], lowest), _path(fields[1])
            case "../":
                return _listen(fields[:2], lowest), _path(fields[2])
            case "/..":
                return _path(fields[0]), _target(fields[1], fields[2])
            case "..." | "....":
                return _listen(fields[:-2], lowest), _target(fields[-2], fields[-1])
    if kind != "local":
        match shape:
            case "/":
                return _path(fields[0]), None
            case "." | "..":
                return _listen(fields, lowest), None
    return _bad(_why_not(kind, shape))


def _why_not(kind: ForwardKind, shape: str) -> str:
    if len(shape) > (2 if kind == "dynamic" else 4):
        return "has too many fields (put an IPv6 address in square brackets)"
    if kind == "local" and shape in {".", "..", "/"}:
        return "has no target"
    return "is not a forward"


def _listen(fields: list[_Field], lowest: int) -> End:
    if len(fields) == 1:
        return End("", _port(fields[0], lowest))
    # An empty bind address with its colon means all interfaces. Without the colon, ssh uses its default.
    return End(_host(fields[0]) or "*", _port(fields[1], lowest))


def _target(host: _Field, port: _Field) -> End:
    if not host.text:
        _bad("has no target host")
    return End(_host(host), _port(port, 1))


def _host(field: _Field) -> str:
    if len(field.text) > MAX_HOST:
        _bad("has too long a host name")
    return field.text


def _port(field: _Field, lowest: int) -> int:
    text = field.text
    if not (text.isascii() and text.isdigit()):
        _bad(f'has "{_shown(text)}" where a port number must be')
    digits = text.lstrip("0") or "0"
    if len(digits) > 5 or not lowest <= int(digits) <= 65535:
        _bad(f"has port {text}; ports go from {lowest} to 65535")
    return int(digits)


def _path(field: _Field) -> End:
    if len(field.text.encode("utf-8", "surrogateescape")) > MAX_UNIX_PATH:
        _bad(f"has a path of more than {MAX_UNIX_PATH} bytes")
    return End(path=field.text)


def _bad(why: str) -> NoReturn:
    raise _Bad(why)
