"""Which way of starting at login serves here; and turning it on and off, as often as one likes."""

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


class Way(Protocol):
    """One way of starting at login."""

    name: str
    path: Path

    def works(self) -> bool:
        """Report whether it serves on this machine."""

    def enabled(self) -> bool:
        """Report whether it is on."""

    def enable(self, command: Sequence[str]) -> bool:
        """Turn it on; return whether anything changed. Raises TrayagentError."""

    def disable(self) -> bool:
        """Turn it off; return whether anything changed. Raises TrayagentError."""

    def spare_masters(self) -> tuple[int, ...]:
        """Before it is turned off, see to it that no master depends on it; return the ssh processes that still do."""

    def notes(self) -> tuple[str, ...]:
        """Return what the person should know once it is on."""


_DOOMED = (
    "systemd's user manager did not take these processes out of the agent's unit, "
    "so they end with the agent: {pids}. Do not stop it while you need their connections."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done: `paths` were written or removed (`changed`), or were so already."""

    paths: tuple[Path, ...]
    changed: bool
    notes: tuple[str, ...] = ()


def enable(command: Sequence[str], env: Mapping[str, str] = os.environ) -> Outcome:
    """Let the command run at each login, in one way only; it may wait for systemd. Raises TrayagentError."""
    chosen, *others = _ways(env)
    changed = chosen.enable(command)
    for other in others:
        changed = other.disable() or changed  # or it would be started twice
    return Outcome((chosen.path,), changed, chosen.notes())


def disable(env: Mapping[str, str] = os.environ) -> Outcome:
    """Let nothing of ours run at login; a running agent goes on. Raises TrayagentError."""
    notes = spare_masters(env)
    removed = tuple(way.path for way in _ways(env) if way.disable())
    return Outcome(removed, bool(removed), notes)


def spare_masters(env: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Before what starts us is removed, let no master depend on it; return what the user must know.

    The package's prerm calls it, too.
    """
    doomed = sorted(pid for way in _ways(env) for pid in way.spare_masters())
    return (_DOOMED.format(pids=", ".join(map(str, doomed))),) if doomed else ()


def enabled(env: Mapping[str, str] = os.environ) -> bool:
    """Report whether the agent is started at login; a look at two files."""
    return way_in_use(env) is not None


def way_in_use(env: Mapping[str, str] = os.environ) -> Way | None:
    """Return the way in which the agent is started at login, None where it is not."""
    return next((way for way in _ways(env) if way.enabled()), None)


def _ways(env: Mapping[str, str], platform: str = sys.platform) -> list[Way]:
    """Return the ways of this platform, that which serves here first."""
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
    except (KeyError, OSError):  # no name for this number: a container
        return str(os.getuid())
