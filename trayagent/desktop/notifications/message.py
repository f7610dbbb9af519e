"""A message on the person's screen; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Urgency = Literal["low", "normal", "critical"]


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be told under one key; another message of the same key takes its place.

    `actions` are (id, words on the button). One that `stays` waits for the person; one that is
    `passing` is told once and needs no withdrawal. `hosts` and `vpn` say what its buttons are about,
    `about` what it is about: (subject, that subject's own words). `icon` is a name of the Icon Naming
    Specification.
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


class Notifications(Protocol):
    """Shows messages; never raises and never waits for what the desktop lacks."""

    @property
    def problem(self) -> str | None:
        """Why messages are not shown, None when they are or nothing was told yet."""

    def show(self, message: Message) -> None:
        """Show this under its key, in place of what was there."""

    def withdraw(self, key: str) -> None:
        """Take what was shown under the key away."""
