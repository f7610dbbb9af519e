"""An entry in the desktop's autostart folder, for systems without a systemd user manager.

Source: Desktop Application Autostart Specification and Desktop Entry Specification, freedesktop.org.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from trayagent.desktop.autostart import files

TEXT = """\
# {mark}
[Desktop Entry]
Type=Application
Name=trayagent
Comment=ssh connections that survive changes of network
Exec={command}
Terminal=false
"""
# A desktop's own settings switch an entry off by such a line instead of removing it.
_SWITCHED_OFF = re.compile(
    rb"^\s*(Hidden\s*=\s*true|X-GNOME-Autostart-enabled\s*=\s*false)\s*$", re.MULTILINE
)
_PLAIN = re.compile(r"[\w/.,:=@+-]+", re.ASCII)
# What stands in a quoted argument, escaped there; and then again, as any string of such a file.
_IN_QUOTES = re.compile(r'(["`$\\])')


class Autostart:
    """The autostart entry of one user."""

    name = "autostart"

    def __init__(self, config_home: Path) -> None:
        self.path = config_home / "autostart" / "trayagent.desktop"

    def works(self) -> bool:
        """Report whether it can serve: no desktop, and nobody reads it, but nothing else is there either."""
        return True

    def enabled(self) -> bool:
        """Report whether the desktop starts it at login."""
        return files.is_ours(self.path) and not _SWITCHED_OFF.search(files.read(self.path) or b"")

    def enable(self, command: Sequence[str]) -> bool:
        """Start at login from now on; return whether that is news. Raises TrayagentError."""
        return files.write(self.path, entry(command).encode())

    def disable(self) -> bool:
        """Start at login no longer; return whether that is news. Raises TrayagentError."""
        return files.remove(self.path)

    def spare_masters(self) -> tuple[int, ...]:
        """No master depends on it."""
        return ()

    def notes(self) -> tuple[str, ...]:
        """Return what the person should know besides."""
        return ("It starts with your next desktop session.",)


def entry(command: Sequence[str]) -> str:
    """Return the entry that runs this command."""
    return TEXT.format(mark=files.MARK, command=command_line(command))


def command_line(command: Sequence[str]) -> str:
    """Return the words as Exec takes them: Desktop Entry Specification, *The Exec key*.

    GLib (2.74) drops an entry whose program it does not find, and looks for it with %% unread.
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
