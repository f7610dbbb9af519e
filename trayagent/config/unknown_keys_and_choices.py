"""Names the valid keys and choices in the error for an unknown one, and the nearest as a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from trayagent.config.errors import WrongKey
from trayagent.dotted_key import dotted


def unknown_key(at: str, name: str, known: Iterable[str]) -> WrongKey:
    """Return the error for a key that does not exist in this table."""
    return WrongKey(dotted(at, name), "there is no such key", _offer(name, tuple(known), ""))


def require_choice(kind: Any, raw: Any, key: str) -> None:
    """Raise WrongKey if the type allows only certain words and `raw` is another word."""
    choices = _choices(kind)
    if choices and isinstance(raw, str) and raw not in choices:
        raise WrongKey(key, f'"{raw}" is not one of the choices', _offer(raw, choices, _described(kind)))


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


def expectation(kind: Any) -> str:
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
