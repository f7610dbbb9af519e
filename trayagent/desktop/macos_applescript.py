"""AppleScript string literals, and command lines of osascript(1)."""

from __future__ import annotations

from collections.abc import Sequence


def quoted(text: str) -> str:
    """Return a text as a string literal, with spaces for control characters other than newline and tab.

    In a literal only a backslash and a quote must be escaped. Source: AppleScript Language Guide, *Class Reference*,
    text.
    """
    plain = "".join(c if c in "\n\t" or ord(c) >= 32 else " " for c in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def osascript(lines: Sequence[str]) -> list[str]:
    """Return the command line that runs a script, each line as one -e."""
    return ["osascript", *(word for line in lines for word in ("-e", line))]
