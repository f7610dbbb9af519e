"""Texts of the menu that fit their line; pure."""

from __future__ import annotations

import textwrap

from trayagent.presentation.text import clean, isolated

LONGEST_NAME = 40
LINE = 64
"""Characters of a line of explanation. A longer line would widen the whole menu."""


def short(text: str, most: int = LONGEST_NAME) -> str:
    """Return the text. If it is too long, leave out the middle, because names often differ only at the end."""
    text = clean(text)
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def name(text: str, most: int = LONGEST_NAME) -> str:
    """Return the name of a host or a VPN for use in a line."""
    return isolated(short(text, most))


def lines(text: str) -> list[str]:
    """Return a text as lines of at most LINE characters."""
    return textwrap.wrap(clean(text), LINE)
