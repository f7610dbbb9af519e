"""Parse durations in arguments."""

from __future__ import annotations

import argparse

from trayagent.config import parse_duration


def duration(text: str) -> int:
    """Return the seconds of an argument such as 30m; raises ArgumentTypeError."""
    try:
        seconds = parse_duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; give {parse_duration.FORM}") from error
    if seconds == 0:
        raise argparse.ArgumentTypeError("it must be at least one second, such as 30s")
    return seconds
