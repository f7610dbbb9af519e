"""Make text safe to print: no control characters from a server, a file name or another program; pure."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
ISOLATES = FIRST_STRONG_ISOLATE + POP_ISOLATE
"""Two characters to put around a name, so that its direction of writing does not affect the rest of the line.

Source: UAX #9.
"""
LEFT_TO_RIGHT_MARK = "\u200e"
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


def is_dumb_terminal(env: Mapping[str, str]) -> bool:
    """Report whether the terminal of this environment knows no control sequences."""
    return env.get("TERM", "dumb") in {"", "dumb", "unknown"}


def left_to_right(text: str) -> str:
    """Return a text whose lines begin on the left, also if the first letter of a line is written from right to left.

    Pango (GTK, GNOME Shell) otherwise turns the whole line around, because it does not skip isolates. All languages of
    the catalogues are written from left to right.
    """
    if text.isascii():
        return text
    return "\n".join(
        f"{LEFT_TO_RIGHT_MARK}{line}" if any(map(_is_right_to_left, line)) else line
        for line in text.split("\n")
    )


def _is_right_to_left(letter: str) -> bool:
    """Report whether a character is in a block of letters from right to left. unicodedata would need more memory."""
    return (
        "\u0590" <= letter <= "\u08ff"
        or "\ufb1d" <= letter <= "\ufdff"
        or "\ufe70" <= letter <= "\ufefc"
        or "\U00010800" <= letter <= "\U00010fff"
        or "\U0001e800" <= letter <= "\U0001efff"
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
