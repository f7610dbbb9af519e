"""Read one table of the file into a frozen struct, key by key, so that an error can name the key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from trayagent.config.errors import WrongKey

T = TypeVar("T", bound=msgspec.Struct)

TYPE_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


def dotted(at: str, name: str) -> str:
    """Join a key's path and a name in TOML notation. Quote the name if it is no bare key."""
    bare = re.fullmatch(r"[A-Za-z0-9_-]+", name)
    shown = name if bare else '"' + name.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    return f"{at}.{shown}" if at else shown


def read_table(struct: type[T], raw: Any, at: str) -> T:
    """Build the struct from a TOML table; `at` is the table's own key. Raises WrongKey."""
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    values = {}
    for name, value in require_table(raw, at).items():
        if name not in fields:
            raise unknown_key(at, name, fields)
        values[name] = read_value(fields[name].type, value, dotted(at, name))
    return struct(**values)


def read_value(kind: Any, raw: Any, key: str) -> Any:
    """Convert and check one value; raises WrongKey."""
    choices = _choices(kind)
    if choices and isinstance(raw, str) and raw not in choices:
        raise WrongKey(key, f'"{raw}" is not one of the choices', _offer(raw, choices, _described(kind)))
    try:
        value = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise WrongKey(key + where.rstrip("`"), _in_words(what), _expectation(kind)) from error
    _check(kind, value, key)
    return value


def require_table(raw: Any, at: str) -> dict[str, Any]:
    """Return `raw` if it is a table; raises WrongKey for anything else."""
    if not isinstance(raw, dict):
        raise WrongKey(at, "must be a table", f"Write it as [{at}] and its keys beneath.")
    return raw


def unknown_key(at: str, name: str, known: Iterable[str]) -> WrongKey:
    """Return the error for a key that does not exist in this table."""
    return WrongKey(dotted(at, name), "there is no such key", _offer(name, tuple(known), ""))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean "x"?` for the nearest known name, or ""."""
    near = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f' Did you mean "{near[0]}"?' if near else ""


def _offer(name: str, choices: tuple[str, ...], besides: str) -> str:
    listed = ", ".join(f'"{c}"' for c in choices)
    return f"Choose one of {listed}{f', or {besides}' if besides else ''}.{did_you_mean(name, choices)}"


def _choices(kind: Any) -> tuple[str, ...]:
    """Return the words that a Literal allows, also inside a union."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    if get_origin(kind) in {Union, UnionType}:
        return tuple(word for part in get_args(kind) for word in _choices(part))
    return ()


def _expectation(kind: Any) -> str:
    """Return a hint that describes valid values, "" if there is no description."""
    choices, described = _choices(kind), _described(kind)
    if choices:
        return _offer("", choices, described)
    if get_origin(kind) is tuple:
        return f"Give a list; each item is {described}."
    return f"Give {described}." if described else ""


def _described(kind: Any) -> str:
    """Return the description of an annotated type, or of the first annotated type inside it."""
    if get_origin(kind) is Annotated:
        return next((m.description for m in get_args(kind)[1:] if m.description), "")
    inner = (_described(part) for part in get_args(kind) if part is not Ellipsis)
    return next((text for text in inner if text), "")


def _check(kind: Any, value: Any, key: str) -> None:
    """Run the checks that are attached to the types of the value and of its items. Raises WrongKey."""
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *metas = get_args(kind)
        for meta in metas:
            try:
                (meta.extra or {})["check"](value)
            except ValueError as error:
                raise WrongKey(key, str(error), f"Give {meta.description}.") from error
        _check(inner, value, key)
    elif origin is tuple and isinstance(value, tuple):
        for index, item in enumerate(value):
            _check(get_args(kind)[0], item, f"{key}[{index}]")
    elif origin in {Union, UnionType}:
        for part in get_args(kind):
            if _fits(part, value):
                _check(part, value, key)


def _fits(kind: Any, value: Any) -> bool:
    """Report whether the value has the type of this part of a union."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return isinstance(value, get_origin(bare) or bare) if get_origin(bare) is not Literal else False


def _in_words(message: str) -> str:
    """Return a validation message with TOML's words for the types."""
    text = re.sub(r"`([a-z]+)( \| null)?`", lambda m: TYPE_WORDS.get(m[1], m[1]), message)
    return text[:1].lower() + text[1:]
