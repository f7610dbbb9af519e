"""Make text safe to print: no control characters from a server, a file name or another program; pure."""

from __future__ import annotations

FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
ISOLATES = FIRST_STRONG_ISOLATE + POP_ISOLATE
"""Two characters to put around a name, so that its direction of writing does not affect the rest of the line.

Source: UAX #9.
"""
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
    """Return a clean name for use in a line of text.

    If letters of the name are written from right to left, put isolates around the name. Otherwise the name would
    reverse other parts of the line.
    """
    from unicodedata import (
        bidirectional,  # import it only for a name that needs it, because the command line must start fast
    )

    if name.isascii() or not any(bidirectional(c) in _RIGHT_TO_LEFT for c in name):
        return name
    return f"{FIRST_STRONG_ISOLATE}{name}{POP_ISOLATE}"
