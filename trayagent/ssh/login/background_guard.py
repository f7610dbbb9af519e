"""Keep programs that ssh runs in the background from opening a window, and record their attempts.

Such a program is a ProxyCommand or a jump host's ssh. Without a display no browser starts. But a program that needs a
browser still calls one: through BROWSER (the AWS and Google command lines, by Python's webbrowser), or through xdg-open
(cloudflared, tsh; `open` on a Mac). Such a call means that the login needs the user. So the agent replaces the browser
with a script that only records the call.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from trayagent.core.facts.failure import Failure
from trayagent.core.facts.problems import Problem

# The list includes the session bus, because a program without a display can open a window through a request over the
# bus.
NO_WINDOWS = ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "SSH_ASKPASS")
# xdg-open detects a desktop by these variables, and then prefers the desktop's opener to BROWSER.
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
# trayagent puts this in the place of a browser during background logins. It only records the call.
here=${0%/*}
case ${0##*/}:$1 in
    gio:open | gio:launch) ;;
    gio:*) PATH=${PATH#"$here:"} && export PATH && exec gio "$@" ;;
esac
: >"$TRAYAGENT_CALLED"
"""
# If the master goes to the background, ssh closes the stderr of its ProxyCommand (sshconnect.c, ssh_proxy_connect), and
# the reason for a failure would be lost. So this script sends that stderr to a file. A ProxyCommand has a pipe as its
# input. A `Match exec` has none, so the script leaves its stderr alone.
_SHELL = """#!/bin/sh
# trayagent puts this in the place of the shell that runs a ProxyCommand. It keeps the stderr of that command.
SHELL=$TRAYAGENT_SHELL
export SHELL
if [ -p /dev/stdin ]; then exec 2>>"$TRAYAGENT_LOG"; fi
exec "$SHELL" "$@"
"""


def without_windows(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables through which a program could open a window."""
    return {key: value for key, value in environment.items() if key not in NO_WINDOWS}


class Openers:
    """The scripts that replace browsers, in a directory of the agent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def caught(self, environment: Mapping[str, str], called: Path) -> dict[str, str]:
        """Return an environment in which a call of a browser only creates the file `called`."""
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
        """Return an environment in which the stderr of a ProxyCommand always goes to the file `log`."""
        self._write()
        shell = self._folder / "shell"
        if not os.access(shell, os.X_OK):  # the file system is mounted with noexec
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


def ends_attempt(called: Path) -> bool:
    """Report whether a login attempt is over, because one of its programs called a browser (see `Openers.caught`)."""
    return called.exists()


def wants_browser(host: str) -> Failure:
    """Return the failure of a login whose ProxyCommand tried to open a browser: only the user can log in."""
    title = f"The ProxyCommand of {host} needs a login in a browser"
    return Failure(Problem("auth-denied", title, f"Log in: trayagent login {host}"), "proxy-login")
