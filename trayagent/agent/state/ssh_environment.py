"""The environment that the agent gives to ssh: its own, with a local ssh-agent that answers."""

from __future__ import annotations

import os
from collections.abc import Mapping

from trayagent.agent.state.chosen_ssh_agent import ChosenSshAgent
from trayagent.agent.state.desktop_environment import user_manager
from trayagent.desktop.session_bus import session_bus_address


class Environment:
    """Builds the environment of background logins, with the SSH_AUTH_SOCK of `ssh_agent`."""

    def __init__(self) -> None:
        self.ssh_agent = ChosenSshAgent(lambda: user_manager().get("SSH_AUTH_SOCK"))
        self._bus: str | None = None
        self._display = os.environ.get("DISPLAY")

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

    def remember_display(self, client: Mapping[str, str]) -> bool:
        """Remember the X display of a client; report whether it is new."""
        offered = client.get("DISPLAY")
        if not offered or offered == self._display:
            return False
        self._display = offered
        return True

    def buses(self) -> list[str | None]:
        """Return two possible addresses of the session bus: from our environment, and from the last client's."""
        return [session_bus_address(), self._bus]
