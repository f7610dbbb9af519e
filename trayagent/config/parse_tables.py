"""Read one table of the file into a frozen struct, key by key, so that an error can name the key."""

from __future__ import annotations

import re
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from trayagent.config.errors import WrongKey
from trayagent.config.unknown_keys_and_choices import expectation, require_choice, unknown_key
from trayagent.dotted_key import dotted

T = TypeVar("T", bound=msgspec.Struct)

TYPE_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


def read_table(struct: type[T], raw: Any, at: str) -> T:
    """Build the struct from a TOML table; `at` is the table's own key. Raises WrongKey."""
    fields, values = _fields(struct), {}
    for name, value in require_table(raw, at).items():
        if name not in fields:
            raise unknown_key(at, name, fields)
        values[name] = read_value(fields[name], value, dotted(at, name))
    return struct(**values)


@cache
def _fields(struct: type) -> dict[str, Any]:
    """Return the types of a struct's fields. A thousand tables of hosts have the same ones."""
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def read_value(kind: Any, raw: Any, key: str) -> Any:
    """Convert and check one value; raises WrongKey."""
    require_choice(kind, raw, key)
    try:
        value = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise WrongKey(key + where.rstrip("`"), _in_words(what), expectation(kind)) from error
    _check(kind, value, key)
    return value


def require_table(raw: Any, at: str) -> dict[str, Any]:
    """Return `raw` if it is a table; raises WrongKey for anything else."""
    if not isinstance(raw, dict):
        raise WrongKey(at, "must be a table", f"Write it as [{at}] and its keys beneath.")
    return raw


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
    types = re.fullmatch(r"Expected `([a-z]+)(?: \| null)?`, got `([a-z]+)`", message)
    if types is None:
        return message[:1].lower() + message[1:]
    expected, got = (TYPE_WORDS.get(word, word) for word in types.groups())
    return f"expected {expected}, got {got}"
