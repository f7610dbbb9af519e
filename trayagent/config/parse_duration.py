"""Parse durations in the user's notation: 30s, 10m, 2h, 90d."""

from __future__ import annotations

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_S = 3650 * UNITS["d"]
"""Ten years. A longer duration is a typing error, and dates would overflow."""

FORM = 'a number and one of s, m, h, d, as in "30s", "10m", "2h" or "90d"'


def parse(text: str) -> int:
    """Return the duration in seconds; raises ValueError for an invalid one."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not (number.isascii() and number.isdecimal()) or len(number) > 9:
        msg = f'"{text}" is not a duration'
        raise ValueError(msg)
    seconds = int(number) * UNITS[unit]
    if seconds > LONGEST_S:
        msg = f'"{text}" is longer than ten years'
        raise ValueError(msg)
    return seconds
