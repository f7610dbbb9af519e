"""Chooses how the agent starts at login on this machine, and turns the start at login on and off."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from trayagent.desktop.autostart.linux_autostart import Autostart
from trayagent.desktop.autostart.linux_systemd import user_manager
from trayagent.desktop.autostart.macos_launchd import LaunchAgent


class Method(Protocol):
    """One method of starting at login."""

    name: str
    path: Path

    def works(self) -> bool:
        """Report whether the method works on this machine."""

    def enabled(self) -> bool:
        """Report whether this method starts the agent at login."""

    def file(self) -> Path:
        """Return the file that starts the agent at login: ours, or the distribution's package's."""

    def enable(self, command: Sequence[str]) -> bool:
        """Turn the start at login on, and return whether anything changed. Raises TrayagentError."""

    def renewed(self) -> bytes | None:
        """Return the file as this version writes it, with the command in it. None if there is no such file."""

    def renew(self) -> bool:
        """Write the file as this version writes it, and return whether it changed. Raises TrayagentError."""

    def disable(self) -> bool:
        """Turn the start at login off, and return whether anything changed. Raises TrayagentError."""

    def spare_masters(self) -> tuple[int, ...]:
        """Free the masters that would end when this method is turned off.

        Return the pids that could not be freed.
        """

    def start_command(self) -> str | None:
        """Return the command that starts the agent now by this method, or None if there is none."""

    def was_started(self) -> bool:
        """Report whether the service manager started the agent since the user's first login. True if unknown."""

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know once the start at login is on."""


_DOOMED = (
    "systemd's user manager did not take these processes out of the agent's unit, "
    "so they end with the agent: {pids}. Do not stop it while you need their connections."
)


class Outcome(Struct, frozen=True):
    """The result of turning the start at login on or off.

    If `changed`, the agent wrote or removed `paths`; otherwise there was nothing to do. `notes` are for the user.
    """

    paths: tuple[Path, ...]
    changed: bool
    notes: tuple[str, ...] = ()


def enable(command: Sequence[str], env: Mapping[str, str] = os.environ) -> Outcome:
    """Start the command at each login, by the preferred method only. May wait for systemd. Raises TrayagentError."""
    chosen, *others = _methods(env)
    changed = chosen.enable(command)
    for other in others:
        changed = other.disable() or changed  # otherwise the agent would start twice
    return Outcome((chosen.path,), changed, chosen.notes())


def renew(env: Mapping[str, str] = os.environ) -> Outcome:
    """Write the files of an older version again, with the command in them. Turn nothing on. Raises TrayagentError."""
    paths = tuple(method.path for method in _methods(env) if method.renew())
    return Outcome(paths, bool(paths))


def disable(env: Mapping[str, str] = os.environ) -> Outcome:
    """No longer start the agent at login. A running agent continues. Raises TrayagentError."""
    notes = spare_masters(env)
    removed = tuple(method.path for method in _methods(env) if method.disable())
    return Outcome(removed, bool(removed), notes)


def spare_masters(env: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Free the masters that would end when the start at login is turned off. Return notes for the user.

    The script that dpkg runs before it removes the package (prerm) calls this, too.
    """
    doomed = sorted(pid for method in _methods(env) for pid in method.spare_masters())
    return (_DOOMED.format(pids=", ".join(map(str, doomed))),) if doomed else ()


def enabled(env: Mapping[str, str] = os.environ) -> bool:
    """Report whether the agent starts at login. Reads only a few files."""
    return method_in_use(env) is not None


def start_command(env: Mapping[str, str] = os.environ) -> str | None:
    """Return the command by which the service manager starts the agent now, or None if it does not manage it."""
    method = method_in_use(env)
    return method.start_command() if method is not None and method.works() else None


def method_in_use(env: Mapping[str, str] = os.environ) -> Method | None:
    """Return the method by which the agent starts at login, or None if it does not."""
    return next((method for method in _methods(env) if method.enabled()), None)


def _methods(env: Mapping[str, str], platform: str = sys.platform) -> list[Method]:
    """Return the methods of this platform, the preferred method first."""
    home = Path(env.get("HOME") or Path.home())
    if platform == "darwin":
        return [LaunchAgent(home)]
    chosen = Path(env.get("XDG_CONFIG_HOME", ""))
    config_home = chosen if chosen.is_absolute() else home / ".config"  # XDG: ignore a relative path
    unit, entry = user_manager(config_home, env, _user()), Autostart(config_home)
    return [unit, entry] if unit.works() else [entry, unit]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user may have no name, as in a container
        return str(os.getuid())
