"""The commands of the menu's lines; pure data. `menu_actions.py` carries them out."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Literal

from msgspec import Struct

Span = Literal["30-minutes", "1-hour", "tomorrow", "until-resumed"]

SPAN_S: dict[Span, float] = {"30-minutes": 1800.0, "1-hour": 3600.0}
MORNING = time(6)
"""The time of day at which a pause "until tomorrow" ends: before most people start to work."""
NIGHT_ENDS = timedelta(hours=4)
"""Before 4:00, "tomorrow" means the coming morning: the user has not slept yet."""


class Do(Struct, frozen=True):
    """One of the agent's operations; `reconnect` without hosts means all hosts that should be up."""

    op: Literal["reconnect", "disconnect", "resume"]
    hosts: tuple[str, ...] = ()


class Pause(Struct, frozen=True):
    """Pause these hosts, counted from the moment of the choice (see `seconds`). No hosts: pause everything."""

    span: Span
    hosts: tuple[str, ...] = ()


class LogIn(Struct, frozen=True):
    """Let the user log in at a terminal: a password, a code, a passphrase, a new host key."""

    host: str


class OpenTerminal(Struct, frozen=True):
    """Open a terminal on the host."""

    host: str


class ShowWhy(Struct, frozen=True):
    """Show the last decisions about the host."""

    host: str


class SignIn(Struct, frozen=True):
    """Start a sign-in to the VPN."""

    vpn: str


class OpenUrl(Struct, frozen=True):
    """Open a URL in the browser."""

    url: str


class Copy(Struct, frozen=True):
    """Put a text on the clipboard."""

    text: str


class Bring(Struct, frozen=True):
    """Put these hosts at the top of the menu. No hosts: restore the usual order."""

    hosts: tuple[str, ...]


class ShowStatus(Struct, frozen=True):
    """Open the status page in the browser."""


class SetUp(Struct, frozen=True):
    """Run `trayagent init` in a terminal. It writes the first configuration."""


class EditConfiguration(Struct, frozen=True):
    """Open the configuration in the user's editor."""


class ShowLog(Struct, frozen=True):
    """Show the agent's log."""


class StartAtLogin(Struct, frozen=True):
    """Turn the start at login on or off."""

    on: bool


class Quit(Struct, frozen=True):
    """End the agent; the masters stay."""


Command = (
    Do
    | Pause
    | LogIn
    | OpenTerminal
    | ShowWhy
    | SignIn
    | OpenUrl
    | Copy
    | Bring
    | ShowStatus
    | SetUp
    | EditConfiguration
    | ShowLog
    | StartAtLogin
    | Quit
)


def seconds(span: Span, now: datetime) -> float | None:
    """Return how many seconds a pause lasts if it is chosen now, or None if only the user ends it.

    `now` has a time zone.
    """
    if span == "until-resumed":
        return None
    return SPAN_S[span] if span in SPAN_S else (tomorrow(now) - now).total_seconds()


def tomorrow(now: datetime) -> datetime:
    """Return the time at which a pause "until tomorrow" ends, in the user's time zone."""
    day = (now.astimezone() - NIGHT_ENDS).date() + timedelta(days=1)
    return datetime.combine(day, MORNING).astimezone()
