"""A cache for values that are computed from a host; callers see pure functions.

Facts are frozen, so a change creates a new object. A value that was computed from a host stays valid until a new object
replaces that host. Without the cache, each event would compute thousands of equal values if a hundred hosts wait for
one server.
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

_NAMES_MAX = 4096  # this limits the memory for names that are no longer used


def derived_once(derive: Callable[[_Facts], _Value]) -> Callable[[_Facts], _Value]:
    """Return a function that returns the same as `derive`, but computes it only once for each version of a host.

    The result of `derive` must depend only on the host's facts. Only the last version of each host is cached.
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
