"""Times and durations in words for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

STEPS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def lasted(seconds: float) -> str:
    """Return a duration by its largest unit, and the next where it matters: "1 h 5 min", "12 min"."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    left = int(seconds)
    for index, (unit, size) in enumerate(STEPS):
        if left >= size:
            count, rest = divmod(left, size)
            if unit in {"s", "min"} or index + 1 == len(STEPS):
                return f"{count} {unit}"
            smaller, its_size = STEPS[index + 1]
            return f"{count} {unit} {rest // its_size} {smaller}" if rest >= its_size else f"{count} {unit}"
    return "0 s"


def ago(moment: str | None, now: datetime) -> str:
    """Return how long ago an RFC 3339 time was, "" for none."""
    if not moment:
        return ""
    seconds = (now - datetime.fromisoformat(moment)).total_seconds()
    return lasted(max(seconds, 0)) if seconds >= 1 else "a moment"


def until(moment: str | None, now: datetime) -> str:
    """Return how long it is to an RFC 3339 time, "" for none."""
    if not moment:
        return ""
    seconds = (datetime.fromisoformat(moment) - now).total_seconds()
    return lasted(round(seconds)) if seconds >= 1 else "a moment"


def clock(moment: str | None, now: datetime) -> str:
    """Return an RFC 3339 time in the user's time zone, with the date where it is not today's; "" for none."""
    if not moment:
        return ""
    local = datetime.fromisoformat(moment).astimezone()
    today = local.date() == now.astimezone().date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def now() -> datetime:
    """Return this moment."""
    return datetime.now(UTC)


def before(seconds: float) -> datetime:
    """Return the moment that many seconds ago."""
    return now() - timedelta(seconds=seconds)


def read(moment: str) -> datetime:
    """Return an RFC 3339 time."""
    return datetime.fromisoformat(moment)


def rfc3339(moment: datetime) -> str:
    """Return a moment as the JSON outputs write it, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
