"""Keeps what ssh runs in the background (a ProxyCommand, a jump host's ssh) from opening a window, and notices the try.

Without a display a browser does not start, but the programs that want one call it all the same: by BROWSER (the AWS
and Google command lines, through Python's webbrowser), or by xdg-open (cloudflared, tsh; `open` on a Mac). Such a call
means that a person is needed, so it ends here, in a script that only records it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# The bus too: over it a desktop opens windows for programs without a display.
NO_WINDOWS = ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "SSH_ASKPASS")
# By these xdg-open knows the desktop whose own opener it prefers to BROWSER.
_DESKTOPS = (
    "XDG_CURRENT_DESKTOP",
    "DESKTOP_SESSION",
    "KDE_FULL_SESSION",
    "GNOME_DESKTOP_SESSION_ID",
    "MATE_DESKTOP_SESSION_ID",
)
_OPENERS = (
    "xdg-open",
    "open",
    "gio",
    "x-www-browser",
    "www-browser",
    "sensible-browser",
    "gnome-open",
    "gvfs-open",
    "kde-open",
    "kde-open5",
    "exo-open",
    "wslview",
    "firefox",
    "chromium",
    "google-chrome",
)
_RECORD = """#!/bin/sh
# Stands in for a browser while trayagent logs in in the background, and records that it was called.
here=${0%/*}
case ${0##*/}:$1 in
    gio:open | gio:launch) ;;
    gio:*) PATH=${PATH#"$here:"} && export PATH && exec gio "$@" ;;
esac
: >"$TRAYAGENT_CALLED"
"""
# ssh gives a ProxyCommand no stderr where its master goes to the background (sshconnect.c, ssh_proxy_connect),
# and with it the reason of a failure would be lost. A `Match exec` has no pipe, and stays as it is.
_SHELL = """#!/bin/sh
# Stands in for the shell that ssh runs a ProxyCommand with, and keeps what that writes to stderr.
SHELL=$TRAYAGENT_SHELL
export SHELL
if [ -p /dev/stdin ]; then exec 2>>"$TRAYAGENT_LOG"; fi
exec "$SHELL" "$@"
"""


def without_windows(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what leads to a display: nobody is there to answer a window."""
    return {key: value for key, value in environment.items() if key not in NO_WINDOWS}


class Openers:
    """The scripts that stand in for browsers, in a folder of ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def caught(self, environment: Mapping[str, str], called: Path) -> dict[str, str]:
        """Return the environment in which whoever wants a browser makes the file `called` instead."""
        self._write()
        plain = {key: value for key, value in environment.items() if key not in _DESKTOPS}
        path = environment.get("PATH", os.defpath)
        return {
            **without_windows(plain),
            "BROWSER": str(self._folder / _OPENERS[0]),
            "PATH": f"{self._folder}{os.pathsep}{path}",
            "TRAYAGENT_CALLED": str(called),
        }

    def heard(self, environment: Mapping[str, str], log: Path) -> dict[str, str]:
        """Return the environment in which a ProxyCommand's stderr goes to the file `log`, whatever ssh does."""
        self._write()
        shell = self._folder / "shell"
        if not os.access(shell, os.X_OK):  # the folder's file system runs no programs
            return dict(environment)
        own = environment.get("SHELL") or "/bin/sh"
        return {**environment, "SHELL": str(shell), "TRAYAGENT_SHELL": own, "TRAYAGENT_LOG": str(log)}

    def _write(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for name, text in (*((name, _RECORD) for name in _OPENERS), ("shell", _SHELL)):
            script = self._folder / name
            if not script.exists():
                fresh = script.with_suffix(".new")
                fresh.write_text(text)
                fresh.chmod(0o700)
                fresh.replace(script)
