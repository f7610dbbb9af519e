"""The environment that the agent gives to ssh: its own, with a local ssh-agent that answers."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Mapping

from trayagent.desktop.bus import session_bus_address
from trayagent.ssh.login.agent_sockets import Kind, kind_of

log = logging.getLogger(__name__)

_ASK_S = 1.0
_WHY: dict[Kind, str] = {
    "usable": "it answers",
    "silent": "no ssh-agent answers there",
    "forwarded": "sshd forwards it from another machine",
    "not-ours": "it is not a socket of this user",
}


class Environment:
    """Holds the SSH_AUTH_SOCK of background logins.

    It is the agent's own or else the user manager's. A client's is used once that one no longer answers. It is
    never a socket that is forwarded from another machine: that ssh-agent would ask whoever sits at that machine,
    and it disappears when that connection ends.
    """

    def __init__(self) -> None:
        self._auth_sock = _first_auth_sock()
        self._refused: tuple[str, Kind] | None = None
        self._bus: str | None = None

    def current(self) -> Mapping[str, str]:
        """Return the environment for a new ssh."""
        environment = dict(os.environ)
        environment.pop("SSH_AUTH_SOCK", None)
        if self._auth_sock:
            environment["SSH_AUTH_SOCK"] = self._auth_sock
        return environment

    def agent_mark(self) -> str:
        """Return an identifier of the current ssh-agent. It differs after the ssh-agent was restarted."""
        try:
            seen = os.stat(self._auth_sock or "")  # noqa: PTH116  # "" is no path
        except OSError:
            return ""
        return f"{self._auth_sock} {seen.st_ino} {seen.st_ctime_ns}"

    def is_news(self, client: Mapping[str, str]) -> bool:
        """Report whether a client's environment names an ssh-agent other than the present one."""
        offered = client.get("SSH_AUTH_SOCK")
        return bool(offered) and offered != self._auth_sock

    def accept(self, client: Mapping[str, str]) -> bool:
        """Use a client's ssh-agent if the present one no longer answers and the client's does.

        Return whether it was taken. Blocks for up to 4 s, so call it in a thread.
        """
        offered = client.get("SSH_AUTH_SOCK")
        if not offered or kind_of(self._auth_sock) == "usable":
            return False
        kind = kind_of(offered)
        if kind == "usable":
            self._auth_sock = offered
            return True
        if self._refused != (offered, kind):  # log it once, not at each command of that shell
            self._refused = (offered, kind)
            log.info("SSH_AUTH_SOCK=%s of a client is not used: %s", offered, _WHY[kind])
        return False

    def shown_bus(self, client: Mapping[str, str]) -> bool:
        """Remember the session bus of a client; report whether it is new."""
        offered = session_bus_address(client)
        if offered is None or offered == self._bus:
            return False
        self._bus = offered
        return True

    def buses(self) -> list[str | None]:
        """Return where the session bus may be: first according to our environment, then to the last client's."""
        return [session_bus_address(), self._bus]


def _first_auth_sock() -> str | None:
    own = os.environ.get("SSH_AUTH_SOCK")
    kind = kind_of(own)
    if kind == "usable":
        return own
    manager = user_manager().get("SSH_AUTH_SOCK")
    if manager != own and kind_of(manager) == "usable":
        return manager
    if own and kind == "forwarded":
        log.warning("SSH_AUTH_SOCK=%s is not used for background logins: %s", own, _WHY[kind])
        return None
    return own or (manager if kind_of(manager) != "forwarded" else None)


def session() -> Mapping[str, str]:
    """Return the environment for a program with a window.

    A unit that starts at login is older than the display. Variables that the user manager received since then are
    read from it, which takes a subprocess.
    """
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return dict(os.environ)
    return {**user_manager(), **os.environ}


def user_manager() -> dict[str, str]:
    """Return the environment of systemd's user manager, {} if there is none (systemctl(1))."""
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
