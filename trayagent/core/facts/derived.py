"""Remembers what is derived from a host, so that it is derived once for each version; pure as seen from outside.

Facts are frozen: a change makes another object. So a value that was derived from an object holds as long as the object
is the same. With a hundred hosts that wait for one server, each event would derive thousands of equal values otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Protocol, TypeVar


class _Named(Protocol):
    @property
    def name(self) -> str:
        """The name of the host."""


_Facts = TypeVar("_Facts", bound=_Named)
_Value = TypeVar("_Value")

_NAMES_MAX = 4096  # names that are no longer used must not fill the memory


def derived_once(derive: Callable[[_Facts], _Value]) -> Callable[[_Facts], _Value]:
    """Return a function like `derive` that computes the value of each version of a host once.

    `derive` must be a function of frozen facts alone. Only the last version of each host is remembered.
    """
    known: dict[str, tuple[_Facts, _Value]] = {}

    @wraps(derive)
    def remembered(facts: _Facts) -> _Value:
        found = known.get(facts.name)
        if found is None or found[0] is not facts:
            if len(known) >= _NAMES_MAX:
                known.clear()
            found = known[facts.name] = facts, derive(facts)
        return found[1]

    return remembered
