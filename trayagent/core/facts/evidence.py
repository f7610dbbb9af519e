"""Evidence: the facts behind a decision, as pairs of key and value; pure."""

from __future__ import annotations

from msgspec import Struct

_SIGNS = {"added": "+", "removed": "-"}
"""Keys that the text abbreviates: `+192.0.2.7` is an address that was added."""


class Evidence(Struct, frozen=True):
    """Pairs of key and value, in the order in which they are printed. `str()` returns their text."""

    pairs: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(**facts: object) -> Evidence:
        """Return these facts as evidence."""
        return Evidence(tuple((key, str(value)) for key, value in facts.items()))

    def plus(self, **facts: object) -> Evidence:
        """Return this evidence with more facts at its end."""
        return self + Evidence.of(**facts)

    def get(self, key: str) -> str | None:
        """Return the first value of a key, or None."""
        return next((value for known, value in self.pairs if known == key), None)

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(self.pairs + other.pairs)

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __str__(self) -> str:
        words = (f"{_SIGNS[k]}{v}" if k in _SIGNS else f"{k}={v}" for k, v in self.pairs)
        return " ".join(words)


NO_EVIDENCE = Evidence()
