"""Define the records of what the survey finds, before `ssh -G` interprets it; plain data."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

Kind = Literal["unit", "process", "cron", "launchd", "shell", "master", "ssh_config"]

MAX_FILE = 1024 * 1024
"""The most bytes to read of a file. Units, crontabs and shell files have a few KB."""


class Machine(Struct, frozen=True):
    """The user and the file system to search. Tests set their own `root`."""

    user: str
    uid: int
    home: Path
    env: Mapping[str, str]
    root: Path = Path("/")

    @property
    def config_home(self) -> Path:
        """The directory for this user's configuration files (XDG Base Directory Specification)."""
        chosen = self.env.get("XDG_CONFIG_HOME", "")
        return Path(chosen) if chosen.startswith("/") else self.home / ".config"

    @property
    def variables(self) -> dict[str, str]:
        """The variables that every shell of this user has."""
        return {"HOME": str(self.home), "USER": self.user, "LOGNAME": self.user}

    def shown(self, path: Path) -> str:
        """Return a path as users write it, with ~ for the home directory."""
        return f"~/{path.relative_to(self.home)}" if path.is_relative_to(self.home) else str(path)


def this_machine(env: Mapping[str, str] = os.environ) -> Machine:
    """Return the machine as the current user sees it."""
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
        user, home = entry.pw_name, entry.pw_dir
    except KeyError:
        user, home = str(uid), "/"
    return Machine(user, uid, Path(env.get("HOME") or home), env)


class Found(Struct, frozen=True):
    """One thing that keeps or kept ssh connected, such as a unit, a crontab line or a process.

    `where` is its name for the user. `words` is its call of ssh, with the variables `env` and the working directory
    `folder`. `active`: it runs, or starts automatically. `by_hand`: the user starts it. `switch_off` says how to end it
    permanently: a command or a sentence. `restarts`: it runs ssh again once that ends. `extras` are its settings that
    trayagent makes unnecessary. `alias` is set instead of `words` if only a name in ssh_config is known.
    """

    kind: Kind
    where: str
    words: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    active: bool = True
    by_hand: bool = False
    switch_off: str = ""
    restarts: bool = False
    extras: tuple[str, ...] = ()
    alias: str | None = None


class Skipped(Struct, frozen=True):
    """Something that could not be read or used: where it is, and the reason in half a sentence."""

    where: str
    why: str


Finding = Found | Skipped


def text_of(path: Path) -> str | Skipped | None:
    """Return a file's text, None if the file does not exist, or the reason why the file cannot be read."""
    try:
        if not path.is_file():
            return None  # opening a FIFO would block
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        return Skipped(str(path), f"cannot be read: {error.strerror}")
    if b"\0" in data:
        return Skipped(str(path), "is not text")
    if len(data) > MAX_FILE:
        return Skipped(str(path), "is larger than 1 MiB")
    return data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def autossh_only(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that autossh reads."""
    return {name: value for name, value in env.items() if name.startswith("AUTOSSH_")}
