"""A cache for values that are computed from a host; callers see pure functions.

Facts are frozen, so a change creates a new object. A value that was computed from some fields of a host stays valid
until a new object replaces one of them. Without the cache, each event would compute thousands of equal values if a
hundred hosts wait for one server.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from operator import attrgetter, is_
from typing import Protocol, TypeVar


class _Named(Protocol):
    @property
    def name(self) -> str:
        """The name of the host."""


_Facts = TypeVar("_Facts", bound=_Named)
_Value = TypeVar("_Value")

_NAMES_MAX = 4096  # this limits the memory for names that are no longer used


def derived_once(*fields: str) -> Callable[[Callable[[_Facts], _Value]], Callable[[_Facts], _Value]]:
    """Return a decorator for a function of a host that depends only on its name and on these fields.

    The decorated function returns the same, but computes it only once as long as the fields are the same objects. Only
    the last value for each host is cached.
    """
    read = attrgetter(*fields, "name")  # with several names, the result is a tuple

    def decorate(derive: Callable[[_Facts], _Value]) -> Callable[[_Facts], _Value]:
        known: dict[str, tuple[_Facts, tuple[object, ...], _Value]] = {}

        @wraps(derive)
        def remembered(facts: _Facts) -> _Value:
            found = known.get(facts.name)
            if found is not None and found[0] is facts:
                return found[2]
            now: tuple[object, ...] = read(facts)
            if found is not None and all(map(is_, found[1], now)):
                known[facts.name] = facts, now, found[2]
                return found[2]
            if len(known) >= _NAMES_MAX:
                known.clear()
            value = derive(facts)
            known[facts.name] = facts, now, value
            return value

        return remembered

    return decorate
