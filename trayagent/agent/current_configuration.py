"""The configuration in force: loads the file, reloads it, and converts it to an event for the core."""

from __future__ import annotations

import time
from pathlib import Path

from trayagent.config.errors import ConfigError
from trayagent.config.load_file import load
from trayagent.config.model import Config
from trayagent.core.facts.events import Configured
from trayagent.core.facts.hosts import Host, Wish
from trayagent.core.facts.vpns import Vpn


class CurrentConfiguration:
    """Holds the configuration in force. A file that is rejected does not replace it.

    `error` is the reason why the present file was rejected, None if it was accepted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: Config = load(path)
        self.error: str | None = None

    def reload(self) -> bool:
        """Read the file again; report whether the configuration changed. Raises ConfigError."""
        try:
            config = load(self.path)
        except ConfigError as error:
            self.error = f"{error.title}. {error.hint}" if error.hint else error.title
            raise
        changed = config != self.config
        self.config, self.error = config, None
        return changed

    def event(self) -> Configured:
        """Return the configuration as an event for the core."""
        config = self.config
        wishes = {
            name: Wish(
                listed=True,
                connect=host.connect,
                forwards=host.forwards,
                vpn=host.vpn,
                networks=host.networks,
                interactive=host.interactive,
                reap=host.reap,
                roam=config.agent.roam if host.roam is None else host.roam,
                roam_for_s=config.agent.roam_for_s,
                roam_port=None if host.roam_port is None or host.roam is False else str(host.roam_port),
                standby=host.standby,
            )
            for name, host in config.hosts.items()
        }
        vpns = tuple(
            Vpn(name, vpn.interface, vpn.networkmanager, vpn.grace_s) for name, vpn in config.vpns.items()
        )
        agent = config.agent
        return Configured(
            time.monotonic(),
            wishes,
            vpns,
            agent.adopt,
            agent.keep_while_offline_s,
            agent.learn_vpn,
            agent.beside == "end",
            agent.mptcp,
        )

    def agent_socket(self, name: str) -> str | None:
        """Return the path of the link to the ssh-agent socket on a host's server, None if the host has no link."""
        host = self.config.hosts.get(name)
        return host.agent_socket if host is not None else None

    def wants_sentinel(self, host: Host) -> bool:
        """Report whether a master should have a sentinel: the agent started it, and the configuration allows it."""
        listed = self.config.hosts.get(host.name)
        allowed = listed is not None and listed.connect == "always" and listed.probe == "session"
        return allowed and host.master is not None and host.master.started_by_agent

    def has_shell(self, name: str) -> bool:
        """Report whether a host's account runs a shell, by its configuration. Return True for an unlisted host."""
        host = self.config.hosts.get(name)
        return host is None or host.probe == "session"
