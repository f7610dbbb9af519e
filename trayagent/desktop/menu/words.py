"""Words and times of the menu; no clock of its own, but the person's time zone."""

from __future__ import annotations

import textwrap
from datetime import datetime

from trayagent.presentation.text import clean
from trayagent.presentation.times import clock

LONGEST_NAME = 40
LINE = 64
"""Characters of a line of explanation; a longer one would widen the whole menu."""


def short(text: str, most: int = LONGEST_NAME) -> str:
    """Return the text, its middle left out where it is too long: a name's end tells most."""
    text = clean(text)
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def lines(text: str) -> list[str]:
    """Return a text in lines that fit."""
    return textwrap.wrap(clean(text), LINE)


def since(moment: str | None, now: datetime) -> str:
    """Return " since 14:02", "" where it is not known."""
    shown = clock(moment, now)
    return f" since {shown}" if shown else ""
