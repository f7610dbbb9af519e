"""What was found on the machine that keeps ssh connected, before anything is made of it; plain data."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["unit", "process", "cron", "launchd", "shell", "master", "ssh_config"]

MAX_FILE = 1024 * 1024
"""Bytes read of one file; units, crontabs and shell files have a few KB."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Whose things are looked at, and where; the tests have a `root` of their own."""

    user: str
    uid: int
    home: Path
    env: Mapping[str, str]
    root: Path = Path("/")

    @property
    def config_home(self) -> Path:
        """Where this user's programs keep their configuration (XDG Base Directory Specification)."""
        chosen = self.env.get("XDG_CONFIG_HOME", "")
        return Path(chosen) if chosen.startswith("/") else self.home / ".config"

    @property
    def variables(self) -> dict[str, str]:
        """The variables that a shell of this user has in any case."""
        return {"HOME": str(self.home), "USER": self.user, "LOGNAME": self.user}

    def shown(self, path: Path) -> str:
        """Return a path as people write it, with ~ for the home folder."""
        return f"~/{path.relative_to(self.home)}" if path.is_relative_to(self.home) else str(path)


def this_machine(env: Mapping[str, str] = os.environ) -> Machine:
    """Return the machine as the user who runs this sees it."""
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
        user, home = entry.pw_name, entry.pw_dir
    except KeyError:
        user, home = str(uid), "/"
    return Machine(user, uid, Path(env.get("HOME") or home), env)


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that keeps ssh connected, or did.

    `where` names it for people; `words` is its call, `env` what is set for that, `folder` where it runs.
    `active`: it runs, or starts by itself. `by_hand`: a person starts it. `switch_off` is what ends it for
    good: a command, or a sentence with what to do. `extras` are words of its own that we make needless.
    `alias` and no words: a name in ssh_config that shows by itself that it is kept connected.
    """

    kind: Kind
    where: str
    words: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    active: bool = True
    by_hand: bool = False
    switch_off: str = ""
    extras: tuple[str, ...] = ()
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Something that could not be read or used: where it is, and why, in half a sentence."""

    where: str
    why: str


Finding = Found | PassedOver


def text_of(path: Path) -> str | PassedOver | None:
    """Return a file's text, None where there is none; what cannot be read is said."""
    try:
        if not path.is_file():
            return None  # a FIFO would block us
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        return PassedOver(str(path), f"cannot be read: {error.strerror}")
    if b"\0" in data:
        return PassedOver(str(path), "is not text")
    if len(data) > MAX_FILE:
        return PassedOver(str(path), "is larger than 1 MiB")
    return data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def autossh_only(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that autossh reads."""
    return {name: value for name, value in env.items() if name.startswith("AUTOSSH_")}
