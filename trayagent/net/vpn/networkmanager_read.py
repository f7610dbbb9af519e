"""Values out of D-Bus properties that nobody promised to be well formed; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
Complain = Callable[[str, str], None]
"""Takes what a complaint is about, so that it is made once, and its words."""
Properties = Mapping[str, Any]
"""Property names to values, variants already unpacked."""


class Reader:
    """Reads properties, and complains about a value of another type."""

    def __init__(self, complain: Complain) -> None:
        self._complain = complain

    def text(self, properties: Properties, key: str) -> str:
        """Return a string or object path, "" where it is missing or something else."""
        value = properties.get(key, "")
        return value if isinstance(value, str) else self._wrong(key, value, "")

    def number(self, properties: Properties, key: str) -> int:
        """Return an unsigned number, 0 where it is missing or something else."""
        value = properties.get(key, 0)
        fits = isinstance(value, int) and not isinstance(value, bool)
        return value if fits else self._wrong(key, value, 0)

    def texts(self, properties: Properties, key: str) -> tuple[str, ...]:
        """Return a list of strings or object paths, () where it is missing or something else."""
        value = properties.get(key, [])
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        return self._wrong(key, value, ())

    def octets(self, properties: Properties, key: str) -> str:
        """Return a byte string as text, as an SSID is shown; "" where it is missing or something else."""
        value = properties.get(key, b"")
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return self._wrong(key, value, "")

    def _wrong(self, key: str, value: object, instead: T) -> T:
        self._complain(key, f"malformed property {key}={value!r:.80}")
        return instead
