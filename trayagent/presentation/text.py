"""Make text safe to print: no control characters from a server, a file name or another program; pure."""

from __future__ import annotations


def clean(text: str) -> str:
    """Return the text as one line without control characters.

    Line breaks and tabs become spaces. Other unprintable characters become U+FFFD, including escape
    sequences and characters that reverse the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c in "\r\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
