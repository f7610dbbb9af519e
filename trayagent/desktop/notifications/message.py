"""A message on the user's screen; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Urgency = Literal["low", "normal", "critical"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message under a key; another message of the same key replaces it.

    `actions` are (id, text of the button). A message that `stays` remains until the user acts. One that is `passing`
    is shown once and needs no withdrawal. `hosts` and `vpn` are the subjects of its buttons. `about` has the
    subjects of the message, each with its text: (subject, text). `icon` is a name of the Icon Naming Specification.
    `by_hand` says what to do where the server shows no buttons.
    """

    key: str
    title: str
    text: str
    urgency: Urgency = "normal"
    actions: tuple[tuple[str, str], ...] = ()
    stays: bool = False
    passing: bool = False
    hosts: tuple[str, ...] = ()
    vpn: str | None = None
    about: frozenset[tuple[str, str]] = frozenset()
    icon: str = "dialog-information"
    by_hand: str = ""

    @property
    def default(self) -> str | None:
        """The action for a click on the message itself: the first one, unless it only postpones the message."""
        first = next((name for name, _ in self.actions), None)
        return None if first == "snooze" else first


class Notifications(Protocol):
    """Shows messages. Never raises, and never waits for something that the desktop lacks."""

    @property
    def problem(self) -> str | None:
        """Why messages are not shown; None if they are, or if there was none yet."""

    def show(self, message: Message) -> None:
        """Show this under its key, and replace what was there."""

    def withdraw(self, key: str) -> None:
        """Remove the message of this key."""
