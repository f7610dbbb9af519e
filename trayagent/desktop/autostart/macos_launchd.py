"""A LaunchAgent for macOS; launchd.plist(5). launchd reads the directory at each login."""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from xml.parsers.expat import ExpatError

from trayagent.desktop.autostart import write_files

LABEL = "trayagent"


class LaunchAgent:
    """The LaunchAgent of one user."""

    name = "launchd"

    def __init__(self, home: Path) -> None:
        self.path = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"

    def works(self) -> bool:
        """Return True: every macOS has launchd."""
        return True

    def enabled(self) -> bool:
        """Report whether launchd starts the agent at login."""
        return write_files.is_ours(self.path)

    def file(self) -> Path:
        """Return the file that starts the agent at login."""
        return self.path

    def enable(self, command: Sequence[str]) -> bool:
        """Turn the start at login on, and return whether that changed anything. Raises TrayagentError."""
        return write_files.write(self.path, plist(command))

    def renewed(self) -> bytes | None:
        """Return the file as this version writes it, with the command in the file. None if we wrote no file."""
        if not self.enabled():
            return None
        try:
            return plist(plistlib.loads(write_files.read(self.path) or b"")["ProgramArguments"])
        except (plistlib.InvalidFileException, ExpatError, KeyError, TypeError):
            return None

    def renew(self) -> bool:
        """Write the file as this version writes it, and return whether it changed. Raises TrayagentError."""
        return write_files.rewrite(self.path, self.renewed())

    def disable(self) -> bool:
        """Turn the start at login off, and return whether that changed anything. Raises TrayagentError."""
        return write_files.remove(self.path)

    def spare_masters(self) -> tuple[int, ...]:
        """Return (): no master depends on the LaunchAgent."""
        return ()

    def start_command(self) -> str | None:
        """Return the command that starts the agent now."""
        return f"launchctl kickstart gui/$(id -u)/{LABEL}"

    def was_started(self) -> bool:
        """Return True: nothing records it."""
        return True

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know."""
        return (f"Start it now: launchctl bootstrap gui/$(id -u) {shlex.quote(str(self.path))}",)


def plist(command: Sequence[str]) -> bytes:
    """Return the property list that runs this command."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(command),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},  # start again after a crash, not after `trayagent stop`
            "AbandonProcessGroup": True,  # the masters run on
            "ProcessType": "Interactive",  # otherwise launchd slows the agent down
            "Comment": write_files.MARK,
        }
    )
