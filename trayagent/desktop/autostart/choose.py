"""Chooses how the agent starts at login on this machine, and turns the start at login on and off."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
        """Report whether the start at login is on."""

    def enable(self, command: Sequence[str]) -> bool:
        """Turn the start at login on, and return whether anything changed. Raises TrayagentError."""

    def disable(self) -> bool:
        """Turn the start at login off, and return whether anything changed. Raises TrayagentError."""

    def spare_masters(self) -> tuple[int, ...]:
        """Free the masters that depend on this method, before it is turned off.

        Return the pids that still depend on it.
        """

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know once the start at login is on."""


_DOOMED = (
    "systemd's user manager did not take these processes out of the agent's unit, "
    "so they end with the agent: {pids}. Do not stop it while you need their connections."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result: `paths` were written or removed if `changed`; otherwise nothing had to be done."""

    paths: tuple[Path, ...]
    changed: bool
    notes: tuple[str, ...] = ()


def enable(command: Sequence[str], env: Mapping[str, str] = os.environ) -> Outcome:
    """Start the command at each login, by one method only. May wait for systemd. Raises TrayagentError."""
    chosen, *others = _methods(env)
    changed = chosen.enable(command)
    for other in others:
        changed = other.disable() or changed  # otherwise the agent would start twice
    return Outcome((chosen.path,), changed, chosen.notes())


def disable(env: Mapping[str, str] = os.environ) -> Outcome:
    """Start nothing at login any more. A running agent continues. Raises TrayagentError."""
    notes = spare_masters(env)
    removed = tuple(method.path for method in _methods(env) if method.disable())
    return Outcome(removed, bool(removed), notes)


def spare_masters(env: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Make sure that no master depends on the start at login, before that is removed. Return notes for the user.

    The package's prerm calls this, too.
    """
    doomed = sorted(pid for method in _methods(env) for pid in method.spare_masters())
    return (_DOOMED.format(pids=", ".join(map(str, doomed))),) if doomed else ()


def enabled(env: Mapping[str, str] = os.environ) -> bool:
    """Report whether the agent starts at login. Reads only a few files."""
    return method_in_use(env) is not None


def method_in_use(env: Mapping[str, str] = os.environ) -> Method | None:
    """Return the method by which the agent starts at login, or None if it does not."""
    return next((method for method in _methods(env) if method.enabled()), None)


def _methods(env: Mapping[str, str], platform: str = sys.platform) -> list[Method]:
    """Return the methods of this platform, the preferred method first."""
    home = Path(env.get("HOME") or Path.home())
    if platform == "darwin":
        return [LaunchAgent(home)]
    chosen = Path(env.get("XDG_CONFIG_HOME", ""))
    config_home = chosen if chosen.is_absolute() else home / ".config"  # the specification's rule
    unit, entry = user_manager(config_home, env, _user()), Autostart(config_home)
    return [unit, entry] if unit.works() else [entry, unit]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user may have no name, as in a container
        return str(os.getuid())
