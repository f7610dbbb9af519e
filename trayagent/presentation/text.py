"""Make text safe to print: no control characters from a server, a file name or another program; pure."""

from __future__ import annotations

FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
ISOLATES = FIRST_STRONG_ISOLATE + POP_ISOLATE
"""Around a name, they keep its direction of writing from affecting the rest of the line. Source: UAX #9."""
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


def clean(text: str, keep: str = "") -> str:
    """Return the text as one line without control characters, except those of `keep`.

    Line breaks and tabs become spaces. Other unprintable characters become U+FFFD, including escape
    sequences and characters that reverse the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else " " if c in "\r\n\t" else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )


def isolated(name: str) -> str:
    """Return a clean name for use in a line of another language.

    A name with letters that are written from right to left gets isolates. Otherwise it would turn the line around.
    """
    from unicodedata import (
        bidirectional,  # imported here, because few names need the module and the command line must start fast
    )

    if name.isascii() or not any(bidirectional(c) in _RIGHT_TO_LEFT for c in name):
        return name
    return f"{FIRST_STRONG_ISOLATE}{name}{POP_ISOLATE}"
