"""The environment that ssh gets from us: the agent's own, with the newest ssh-agent that anybody showed us."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from trayagent.desktop.bus import session_bus_address

_ASK_S = 1.0


class Environment:
    """Holds SSH_AUTH_SOCK as the agent's own environment, the user manager and the CLI clients say."""

    def __init__(self) -> None:
        self._auth_sock = os.environ.get("SSH_AUTH_SOCK") or user_manager().get("SSH_AUTH_SOCK")
        self._bus: str | None = None

    def current(self) -> Mapping[str, str]:
        """Return the environment for a new ssh."""
        environment = dict(os.environ)
        if self._auth_sock:
            environment["SSH_AUTH_SOCK"] = self._auth_sock
        return environment

    def agent_mark(self) -> str:
        """Return what names the ssh-agent of now: one that was started anew has another name."""
        try:
            seen = os.stat(self._auth_sock or "")  # noqa: PTH116  # "" is no path
        except OSError:
            return ""
        return f"{self._auth_sock} {seen.st_ino} {seen.st_ctime_ns}"

    def shown(self, client: Mapping[str, str]) -> bool:
        """Take up what a client's environment says; report whether it is news."""
        offered = client.get("SSH_AUTH_SOCK")
        if not offered or offered == self._auth_sock:
            return False
        self._auth_sock = offered
        return True

    def shown_bus(self, client: Mapping[str, str]) -> bool:
        """Take up where a client's session bus is; report whether it is news."""
        offered = session_bus_address(client)
        if offered is None or offered == self._bus:
            return False
        self._bus = offered
        return True

    def buses(self) -> list[str | None]:
        """Return where the session bus may be: as our own environment says, then as the last client's did."""
        return [session_bus_address(), self._bus]


def session() -> Mapping[str, str]:
    """Return the environment for a program with a window: a unit started at login is older than the display.

    What the user manager has been told since then is taken from there; it takes a subprocess to ask.
    """
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return dict(os.environ)
    return {**user_manager(), **os.environ}


def user_manager() -> dict[str, str]:
    """Return the environment of systemd's user manager, {} where there is none (systemctl(1))."""
    try:
        answer = subprocess.run(
            ["systemctl", "--user", "show-environment"],
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.partition("=") for line in answer.stdout.splitlines())
    return {key: value.strip("'\"") for key, _, value in pairs if value and not value.startswith("$")}
