"""Words and times of the menu; no clock of its own, but the person's time zone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from datetime import datetime, timedelta

# A state's sign differs in shape: a menu has no colours.
SIGNS: Mapping[str, str] = {
    "connected": "●",
    "checking": "◌",
    "connecting": "◐",
    "waiting": "↻",
    "offline": "○",
    "needs-vpn": "◇",
    "needs-sign-in": "▲",
    "failed": "✗",
    "paused": "‖",
    "idle": "–",  # noqa: RUF001  # a dash as wide as the other signs
    "open": "●",
    "opening": "◐",
    "closed": "○",
}
STATES: Mapping[str, str] = {
    "checking": "is it still there?",
    "waiting": "tries again",
    "offline": "out of reach",
    "needs-vpn": "waits for the VPN",
    "needs-sign-in": "needs you",
    "idle": "not in use",
}
LONGEST_NAME = 40
LINE = 64
"""Characters of a line of explanation; a longer one would widen the whole menu."""
DAYS_BY_NAME = timedelta(days=6)


def clean(text: str) -> str:
    """Return the text as one line without control characters: servers choose some of these words."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else " " for sign in text)


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


def state(word: str) -> str:
    """Return a host's state in words."""
    return STATES.get(word, clean(word))


def sign(word: str) -> str:
    """Return a state's sign."""
    return SIGNS.get(word, "?")


def clock(moment: str | None, now: datetime, *, exact: bool = False) -> str:
    """Return an RFC 3339 time as the person's clock shows it, "" for none; the day where it is another one.

    A time of day stays true while the menu stands; "5 minutes ago" would not.
    """
    if not moment:
        return ""
    then, today = datetime.fromisoformat(moment).astimezone(), now.astimezone()
    time_of_day = then.strftime("%H:%M:%S" if exact else "%H:%M")
    if then.date() == today.date():
        return time_of_day
    if abs(today - then) < DAYS_BY_NAME:
        return f"{then:%a} {time_of_day}"
    return f"{then:%Y-%m-%d}"


def since(moment: str | None, now: datetime) -> str:
    """Return " since 14:02", "" where it is not known."""
    shown = clock(moment, now)
    return f" since {shown}" if shown else ""
