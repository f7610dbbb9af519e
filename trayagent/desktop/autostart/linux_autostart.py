"""An entry in the desktop's autostart directory, for systems without a systemd user manager.

Source: Desktop Application Autostart Specification and Desktop Entry Specification, freedesktop.org.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from trayagent.desktop.autostart import write_files

TEXT = """\
# {mark}
[Desktop Entry]
Type=Application
Name=trayagent
Comment=ssh connections that survive changes of network
Exec={command}
Terminal=false
"""
# The desktop's settings disable an entry by one of these lines, and do not remove the file.
_SWITCHED_OFF = re.compile(
    rb"^\s*(Hidden\s*=\s*true|X-GNOME-Autostart-enabled\s*=\s*false)\s*$", re.MULTILINE
)
_PLAIN = re.compile(r"[\w/.,:=@+-]+", re.ASCII)
# Characters to escape in a quoted argument. Then the whole argument is escaped like every string in a .desktop file.
_IN_QUOTES = re.compile(r'(["`$\\])')


class Autostart:
    """The autostart entry of one user."""

    name = "autostart"

    def __init__(self, config_home: Path) -> None:
        self.path = config_home / "autostart" / "trayagent.desktop"

    def works(self) -> bool:
        """Return True. Without a desktop no program reads the entry, but then no other method works either."""
        return True

    def enabled(self) -> bool:
        """Report whether the desktop starts the agent at login."""
        return write_files.is_ours(self.path) and not _SWITCHED_OFF.search(write_files.read(self.path) or b"")

    def file(self) -> Path:
        """Return the file that starts the agent at login."""
        return self.path

    def enable(self, command: Sequence[str]) -> bool:
        """Turn the start at login on, and return whether that changed anything. Raises TrayagentError."""
        return write_files.write(self.path, entry(command).encode())

    def renewed(self) -> bytes | None:
        """Return the entry as this version writes it, with the command in the file.

        None if we wrote no file, or if the desktop's settings switched it off: they did so in the file.
        """
        command = write_files.value(self.path, "Exec") if self.enabled() else None
        return TEXT.format(mark=write_files.MARK, command=command).encode() if command else None

    def renew(self) -> bool:
        """Write the entry as this version writes it, and return whether it changed. Raises TrayagentError."""
        return write_files.rewrite(self.path, self.renewed())

    def disable(self) -> bool:
        """Turn the start at login off, and return whether that changed anything. Raises TrayagentError."""
        return write_files.remove(self.path)

    def spare_masters(self) -> tuple[int, ...]:
        """Return (): no master depends on the entry."""
        return ()

    def start_command(self) -> str | None:
        """Return None: only the desktop starts entries."""
        return None

    def was_started(self) -> bool:
        """Return True: nothing records it."""
        return True

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know."""
        return ("It starts with your next desktop session, and with no other login.",)


def entry(command: Sequence[str]) -> str:
    """Return the entry that runs this command."""
    return TEXT.format(mark=write_files.MARK, command=command_line(command))


def command_line(command: Sequence[str]) -> str:
    """Return the words as the value of Exec: Desktop Entry Specification, *The Exec key*.

    GLib (2.74) looks for the program without decoding %%, and ignores the entry if it does not find the program.
    """
    if "%" in command[0]:
        command = ("/usr/bin/env", *command)
    return " ".join(_quoted(word) for word in command)


def _quoted(word: str) -> str:
    word = word.replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return word
    inside = _IN_QUOTES.sub(r"\\\1", word)
    return '"{}"'.format(inside.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t"))
