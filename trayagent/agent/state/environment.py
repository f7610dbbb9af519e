"""The environment that the agent gives to ssh: its own, with a local ssh-agent that answers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from trayagent.agent.state.chosen_ssh_agent import ChosenSshAgent
from trayagent.desktop.bus import session_bus_address

_ANSWER_WITHIN_S = 1.0


class Environment:
    """Builds the environment of background logins, with the SSH_AUTH_SOCK of `ssh_agent`."""

    def __init__(self) -> None:
        self.ssh_agent = ChosenSshAgent(lambda: user_manager().get("SSH_AUTH_SOCK"))
        self._bus: str | None = None

    def current(self) -> Mapping[str, str]:
        """Return the environment for a new ssh."""
        environment = dict(os.environ)
        environment.pop("SSH_AUTH_SOCK", None)
        if self.ssh_agent.socket:
            environment["SSH_AUTH_SOCK"] = self.ssh_agent.socket
        return environment

    def agent_mark(self) -> str:
        """Return an identifier of the current ssh-agent. It differs after the ssh-agent was restarted."""
        return self.ssh_agent.mark()

    def remember_bus(self, client: Mapping[str, str]) -> bool:
        """Remember the session bus of a client; report whether it is new."""
        offered = session_bus_address(client)
        if offered is None or offered == self._bus:
            return False
        self._bus = offered
        return True

    def buses(self) -> list[str | None]:
        """Return where the session bus may be: first according to our environment, then to the last client's."""
        return [session_bus_address(), self._bus]


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
            timeout=_ANSWER_WITHIN_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.partition("=") for line in answer.stdout.splitlines())
    return {key: value.strip("'\"") for key, _, value in pairs if value and not value.startswith("$")}
