"""Format times and durations for users."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from datetime import date as date_type

from trayagent.presentation.translation import _, number, to_translate

DAYS_BY_NAME = timedelta(days=6)
"""Within a week the name of a day is unambiguous."""
DAYS = (
    to_translate("Mon"),
    to_translate("Tue"),
    to_translate("Wed"),
    to_translate("Thu"),
    to_translate("Fri"),
    to_translate("Sat"),
    to_translate("Sun"),
)
MONTHS = (
    to_translate("Jan"),
    to_translate("Feb"),
    to_translate("Mar"),
    to_translate("Apr"),
    to_translate("May"),
    to_translate("Jun"),
    to_translate("Jul"),
    to_translate("Aug"),
    to_translate("Sep"),
    to_translate("Oct"),
    to_translate("Nov"),
    to_translate("Dec"),
)
STEPS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def lasted(seconds: float) -> str:
    """Return a duration in words: "12 min", "1 h 5 min". Hours and days have the next smaller unit, too."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 10:
        return number(f"{seconds:.1f} s")
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
    """Return how long ago an RFC 3339 time was, "" without a time."""
    if not moment:
        return ""
    seconds = (now - datetime.fromisoformat(moment)).total_seconds()
    return lasted(max(seconds, 0)) if seconds >= 1 else _("a moment")


def until(moment: str | None, now: datetime) -> str:
    """Return the duration until an RFC 3339 time, "" without a time."""
    if not moment:
        return ""
    seconds = (datetime.fromisoformat(moment) - now).total_seconds()
    return lasted(round(seconds)) if seconds >= 1 else _("a moment")


def clock(moment: str | None, now: datetime, *, exact: bool = False) -> str:
    """Return an RFC 3339 time in local time, with the day or date if it is not today; "" without a time.

    `exact` adds the seconds. Use this for text that stays on the screen: "5 minutes ago" would soon be wrong.
    """
    if not moment:
        return ""
    then, today = datetime.fromisoformat(moment).astimezone(), now.astimezone()
    time_of_day = then.strftime("%H:%M:%S" if exact else "%H:%M")
    if then.date() == today.date():
        return time_of_day
    if abs(today - then) < DAYS_BY_NAME:
        return f"{_(DAYS[then.weekday()])} {time_of_day}"
    return f"{date(then)} {time_of_day}" if exact else date(then)


def date(day: datetime) -> str:
    """Return a date with its year, as the user's language writes it."""
    return day.strftime(_("%Y-%m-%d"))


def day_and_month(day: date_type) -> str:
    """Return a date without its year, for example "08 Jan"."""
    return _("{day:02} {month}").format(day=day.day, month=_(MONTHS[day.month - 1]))


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def before(seconds: float) -> datetime:
    """Return the time that was this many seconds ago."""
    return now() - timedelta(seconds=seconds)


def read(moment: str) -> datetime:
    """Return an RFC 3339 time as a datetime."""
    return datetime.fromisoformat(moment)


def rfc3339(moment: datetime) -> str:
    """Return a time in UTC, in the format of the JSON outputs."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
