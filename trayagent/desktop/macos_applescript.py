"""AppleScript's literals, and scripts as osascript(1) takes them."""

from __future__ import annotations

from collections.abc import Sequence


def quoted(text: str) -> str:
    """Return a text as a string literal; control characters that no argument or message may have become spaces.

    Within quotes only a backslash and a quote have a meaning of their own. Source: AppleScript Language Guide,
    *Class Reference*, text.
    """
    plain = "".join(c if c in "\n\t" or ord(c) >= 32 else " " for c in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def osascript(lines: Sequence[str]) -> list[str]:
    """Return the words that run a script, each line as one -e."""
    return ["osascript", *(word for line in lines for word in ("-e", line))]
