"""A message on the user's screen; pure."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

Urgency = Literal["low", "normal", "critical"]


class Message(Struct, frozen=True):
    """A message. It replaces an earlier message of the same key.

    `actions` are (id, text of the button). If `stays`, the message remains until the user acts. If `passing`, it is
    shown once and never withdrawn. `hosts` and `vpn` are what its buttons act on. `about` has the subjects of the
    message, each with its text: (subject, text). `icon` is a name of the Icon Naming Specification. `by_hand` says what
    to do where the server shows no buttons.
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
    """Shows messages. Its methods never raise, and never wait for a notification server."""

    @property
    def problem(self) -> str | None:
        """Why the last message was not shown; None if it was, or if there was no message yet."""

    def show(self, message: Message) -> None:
        """Show the message. It replaces an earlier message of the same key."""

    def withdraw(self, key: str) -> None:
        """Remove the message of this key."""
