"""Read values from D-Bus properties, which may be malformed; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
Complain = Callable[[str, str], None]
"""Takes the subject of a complaint and its text. Only the first complaint about each subject is logged."""
Properties = Mapping[str, Any]
"""Property names to values, variants already unpacked."""


class Reader:
    """Reads properties, and complains about values of a wrong type."""

    def __init__(self, complain: Complain) -> None:
        self._complain = complain

    def text(self, properties: Properties, key: str) -> str:
        """Return a string or object path, "" if the value is missing or has another type."""
        value = properties.get(key, "")
        return value if isinstance(value, str) else self._wrong(key, value, "")

    def number(self, properties: Properties, key: str) -> int:
        """Return an unsigned number, 0 if the value is missing or has another type."""
        value = properties.get(key, 0)
        fits = isinstance(value, int) and not isinstance(value, bool)
        return value if fits else self._wrong(key, value, 0)

    def texts(self, properties: Properties, key: str) -> tuple[str, ...]:
        """Return a list of strings or object paths, () if the value is missing or has another type."""
        value = properties.get(key, [])
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        return self._wrong(key, value, ())

    def octets(self, properties: Properties, key: str) -> str:
        """Return a byte string as text, as an SSID is displayed; "" if it is missing or has another type."""
        value = properties.get(key, b"")
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return self._wrong(key, value, "")

    def _wrong(self, key: str, value: object, instead: T) -> T:
        self._complain(key, f"malformed property {key}={value!r:.80}")
        return instead
