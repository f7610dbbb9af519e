"""Collects once what all checks need: the configuration, the agent's view, and `ssh -G` of each host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trayagent.config.errors import ConfigError
from trayagent.config.file_paths import FilePaths
from trayagent.config.load_file import load
from trayagent.config.model import Config, Host
from trayagent.core.facts.forwards import Forward
from trayagent.core.facts.resolved import Resolved
from trayagent.doctor.deadlines import aside, each
from trayagent.errors import TrayagentError
from trayagent.ipc import blocking_client
from trayagent.ssh.new_control_path import default_in
from trayagent.ssh.os.control_sockets import owner_of
from trayagent.ssh.resolve import resolve

CONFIG_S = 1.0
"""Time limit in seconds for reading the configuration. If it takes longer, the file system seems to hang."""
RESOLVE_S = 5.0
"""Time limit in seconds for one `ssh -G`, which takes 4 ms. The agent waits longer for a host's first answer."""
GATHER_S = 6.0
"""Time limit in seconds for all `ssh -G` together."""
VIEW_S = 3.0
"""Time limit in seconds for the agent's view."""
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Case:
    """What was collected before the checks.

    `config` is empty if the file cannot be used; `config_error` says why. `view` is the view of the running agent, or
    None; `agent_error` then says why. Each listed host is in `resolved` or in `unresolved`.
    """

    file_paths: FilePaths
    env: Mapping[str, str]
    config: Config = field(default_factory=Config)
    config_error: TrayagentError | None = None
    view: dict[str, Any] | None = None
    agent_error: TrayagentError | None = None
    resolved: Mapping[str, Resolved] = field(default_factory=dict)
    unresolved: Mapping[str, TrayagentError] = field(default_factory=dict)

    def wanted(self) -> Iterator[tuple[str, Host, Resolved]]:
        """Yield the listed hosts that the agent may connect and that ssh could resolve."""
        for name, host in self.config.hosts.items():
            if host.connect != "never" and name in self.resolved:
                yield name, host, self.resolved[name]

    def control_path(self, name: str) -> str:
        """Return the control path of a listed host's master."""
        return self.resolved[name].control_path or default_in(self.file_paths.runtime_dir, name)

    def state(self, name: str) -> str | None:
        """Return the state of a host in the agent's view, or None if the view lacks the host."""
        hosts = self.view["hosts"] if self.view is not None else []
        return next((host["state"] for host in hosts if host["name"] == name), None)

    def agents_masters(self) -> dict[int, str]:
        """Return the pid and the host of each master in the agent's view, including inner and draining masters."""
        hosts = self.view["hosts"] if self.view is not None else []
        pids = {one["pid"]: host["name"] for host in hosts for one in host["draining"]}
        pids |= {host["roaming"]["pid"]: host["name"] for host in hosts if host.get("roaming")}
        return pids | {host["pid"]: host["name"] for host in hosts if host["pid"] is not None}

    def master(self, name: str) -> int | None:
        """Return the pid of the process that listens on a listed host's control path, or None. Raises NetlinkError.

        After a change of ControlPath, the path is the agent's link to the socket.
        """
        return owner_of(os.path.realpath(self.control_path(name)))

    @property
    def ssh_config(self) -> str:
        """The ssh_config file to which a user would add a host's options, with ~ for the home directory."""
        return shown(self.file_paths.ssh_config_files[0])


def spoken(forward: Forward) -> str:
    """Return a forward as the option that ssh takes, for example `-L 9000:127.0.0.1:8000`."""
    return f"-{forward.kind[0].upper()} {forward.spec}"


def shown(path: Path) -> str:
    """Return a path with ~ for the home directory."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) and home != Path("/") else str(path)


async def gather(file_paths: FilePaths, env: Mapping[str, str] = os.environ) -> Case:
    """Collect everything. Nothing is raised: a part that fails or times out leaves its error in the result."""
    described, (view, agent_error) = await asyncio.gather(_described(file_paths), _view(file_paths))
    config, config_error, resolved, unresolved = described
    return Case(file_paths, env, config, config_error, view, agent_error, resolved, unresolved)


async def _described(
    file_paths: FilePaths,
) -> tuple[Config, TrayagentError | None, dict[str, Resolved], dict[str, TrayagentError]]:
    config, error = await _config(file_paths)
    return config, error, *await _hosts(file_paths, config)


async def _config(file_paths: FilePaths) -> tuple[Config, TrayagentError | None]:
    path = file_paths.config_file
    try:
        async with asyncio.timeout(CONFIG_S):
            return await aside(lambda: load(path)), None
    except TimeoutError:
        return Config(), ConfigError(str(path), "it cannot be read: the file system does not answer")
    except ConfigError as error:
        return Config(), error


async def _view(file_paths: FilePaths) -> tuple[dict[str, Any] | None, TrayagentError | None]:
    try:
        async with asyncio.timeout(VIEW_S):
            return await aside(
                lambda: blocking_client.call(file_paths.ipc_socket, "status", {"hosts": []}, VIEW_S)
            ), None
    except TimeoutError:
        hint = "Read its log, or restart it: trayagent stop, then trayagent run"
        return None, TrayagentError("The agent does not answer.", code="agent-silent", hint=hint)
    except TrayagentError as error:
        return None, error


async def _hosts(
    file_paths: FilePaths, config: Config
) -> tuple[dict[str, Resolved], dict[str, TrayagentError]]:
    resolved: dict[str, Resolved] = {}
    unresolved: dict[str, TrayagentError] = {}
    ssh_config = file_paths.ssh_option_f

    async def one(name: str) -> None:
        try:
            resolved[name] = await resolve(name, ssh=file_paths.ssh, config=ssh_config, timeout_s=RESOLVE_S)
        except TrayagentError as error:
            unresolved[name] = error

    _, late = await each(config.hosts, one, at_once=_AT_ONCE, within_s=GATHER_S - RESOLVE_S)
    for name in late:
        unresolved[name] = TrayagentError("Checking the earlier hosts took too long", code="check-late")
    return resolved, unresolved
