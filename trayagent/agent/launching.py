"""Starting ssh for an attempt: on a connection that we make, wherever ssh can take one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trayagent.config.places import Places
from trayagent.core.resolved import Resolved
from trayagent.core.timing import ATTEMPT_DEADLINE_S
from trayagent.ssh.command import CONNECT_TIMEOUT_S, master_command, may_be_handed_over
from trayagent.ssh.launch import Launched, LaunchFailedError, launch
from trayagent.ssh.own_connection import OwnConnection
from trayagent.ssh.windows import Openers


@dataclass(frozen=True, slots=True)
class Start:
    """One ssh to be started: for `name`, listening at `socket_path`, its stderr in `log`."""

    name: str
    resolved: Resolved
    socket_path: str
    log: Path
    background: bool
    environment: Mapping[str, str]
    established: Callable[[int], bool] | None


class WantsBrowserError(LaunchFailedError):
    """What ssh connects through called for a browser: a person has to log in to it."""


class Launching:
    """Starts ssh; remembers if this machine's ssh cannot be handed a connection."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._openers = Openers(places.runtime_dir / "openers")
        self._number = 0
        self._hands_over = True

    async def launch(self, start: Start) -> Launched:
        """Return the master once it listens; raises LaunchFailedError, WantsBrowserError, OSError."""
        self._number += 1
        at = self._places.runtime_dir / f"connection-{os.getpid()}-{self._number}"
        if start.resolved.proxy_command is not None or start.resolved.proxy_jump is not None:
            return await self._carried(start)
        if not self._hands_over or not may_be_handed_over(start.resolved, str(at)):
            return await self._start(start, None)
        connection = OwnConnection(start.resolved, start.resolved.connect_timeout or CONNECT_TIMEOUT_S)
        try:
            async with connection.offered(at):
                launched = await self._start(start, str(at))
            return replace(launched, let_go=connection.close)
        except LaunchFailedError as failed:
            if connection.asked:
                # ssh shows what its helper says only where its master stays in the foreground.
                raise LaunchFailedError(f"{connection.why_not}\n{failed.said}", failed.status) from failed
        # Its ProxyCommand was never run: ssh must get there without.
        launched = await self._start(start, None)
        self._hands_over = False
        return launched

    async def _carried(self, start: Start) -> Launched:
        """Start an ssh that connects through another program; raises WantsBrowserError, too."""
        called = start.log.with_suffix(".called")
        environment = self._openers.caught(start.environment, called)
        if start.background:
            environment = self._openers.heard(environment, start.log)
        try:
            return await self._start(replace(start, environment=environment), None, called.exists)
        except LaunchFailedError as failed:
            if called.exists():
                raise WantsBrowserError(failed.said, failed.status) from failed
            raise
        finally:
            called.unlink(missing_ok=True)

    async def _start(
        self, start: Start, connection: str | None, hopeless: Callable[[], bool] = lambda: False
    ) -> Launched:
        config = self._places.ssh_config
        words = master_command(
            start.name,
            start.resolved,
            start.socket_path,
            background=start.background,
            ssh=self._places.ssh,
            config=str(config) if config is not None else None,
            connection=connection,
            log=str(start.log),
        )
        environment = dict(start.environment)
        if connection is not None:
            environment["SHELL"] = (
                "/bin/sh"  # it runs the ProxyCommand; the user's own may read a profile first
            )
        return await launch(
            words,
            start.socket_path,
            start.log,
            deadline_s=ATTEMPT_DEADLINE_S,
            environment=environment,
            established=start.established,
            hopeless=hopeless,
        )
