"""The commands of the menu's lines; pure data. `menu_actions.py` carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Literal

Span = Literal["30-minutes", "1-hour", "tomorrow", "until-resumed"]

SPAN_S: dict[Span, float] = {"30-minutes": 1800.0, "1-hour": 3600.0}
MORNING = time(6)
"""The time of day at which a pause "until tomorrow" ends: before most people start to work."""
NIGHT_ENDS = timedelta(hours=4)
"""Before 4:00, "tomorrow" means the coming morning: the user has not slept yet."""


@dataclass(frozen=True, slots=True)
class Do:
    """One of the agent's operations; `reconnect` without hosts means all hosts that should be up."""

    op: Literal["reconnect", "disconnect", "resume"]
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause these hosts, counted from the moment of the choice (see `seconds`). No hosts: pause everything."""

    span: Span
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogIn:
    """Let the user log in at a terminal: a password, a code, a passphrase, a new host key."""

    host: str


@dataclass(frozen=True, slots=True)
class OpenTerminal:
    """Open a terminal on the host."""

    host: str


@dataclass(frozen=True, slots=True)
class ShowWhy:
    """Show the last decisions about the host."""

    host: str


@dataclass(frozen=True, slots=True)
class SignIn:
    """Start a sign-in to the VPN."""

    vpn: str


@dataclass(frozen=True, slots=True)
class OpenUrl:
    """Open a URL in the browser."""

    url: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Put a text on the clipboard."""

    text: str


@dataclass(frozen=True, slots=True)
class Bring:
    """Put these hosts at the top of the menu. No hosts: restore the usual order."""

    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShowStatus:
    """Open the status page in the browser."""


@dataclass(frozen=True, slots=True)
class SetUp:
    """Run `trayagent init` in a terminal. It writes the first configuration."""


@dataclass(frozen=True, slots=True)
class EditConfiguration:
    """Open the configuration in the user's editor."""


@dataclass(frozen=True, slots=True)
class ShowLog:
    """Show the agent's log."""


@dataclass(frozen=True, slots=True)
class StartAtLogin:
    """Turn the start at login on or off."""

    on: bool


@dataclass(frozen=True, slots=True)
class Quit:
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
