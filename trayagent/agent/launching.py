"""Starting ssh for an attempt: on a connection that we make, wherever ssh can take one."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from trayagent.config.places import Places
from trayagent.core.resolved import Resolved
from trayagent.core.timing import ATTEMPT_DEADLINE_S, LOGIN_ROUND_TRIPS
from trayagent.ssh.command import CONNECT_TIMEOUT_S, master_command, may_be_handed_over
from trayagent.ssh.flows import flow_of, tcp_facts
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


_OLD_SSH = "onfiguration option"  # it knows no ProxyUseFdpass


class WantsBrowserError(LaunchFailedError):
    """What ssh connects through called for a browser: a person has to log in to it."""


class Shelter(Protocol):
    """Gives each new master a group of its own among the system's processes, out of reach of the agent's end."""

    @property
    def ready(self) -> bool:
        """Whether it is worth while to let a new master wait for it."""

    async def take(self, host: str, pid: int) -> bool:
        """Put the process there and report whether it is; never raises, and returns within 50 ms."""


class Launching:
    """Starts ssh; remembers if this machine's ssh cannot be handed a connection."""

    def __init__(self, places: Places, shelter: Shelter | None) -> None:
        self._places = places
        self._shelter = shelter
        self._openers = Openers(places.runtime_dir / "openers")
        self._number = 0
        self._hands_over = True

    async def launch(self, start: Start) -> Launched:
        """Return the master once it listens; raises LaunchFailedError, WantsBrowserError, OSError."""
        self._number += 1
        at = self._places.runtime_dir / f"connection-{os.getpid()}-{self._number}"
        jump = start.resolved.jump
        if not self._hands_over or not may_be_handed_over(
            start.resolved, str(at), ssh=self._places.ssh, config=self._config
        ):
            return await self._start(start, None)
        to = jump or start.resolved
        # A jump host may have a master of its own, and then needs no connection.
        connection = OwnConnection(to, to.connect_timeout or CONNECT_TIMEOUT_S, at_once=jump is None)
        try:
            async with connection.offered(at):
                launched = await self._start(start, str(at), connection if jump is None else None)
            return replace(launched, let_go=connection.close)
        except LaunchFailedError as failed:
            if connection.asked or (jump is not None and _OLD_SSH not in failed.said):
                # ssh shows what its helper says only where its master stays in the foreground.
                raise failed.with_reason(connection.why_not) from failed
        # Its ProxyCommand was never run: ssh must get there without.
        launched = await self._start(start, None)
        self._hands_over = False
        return launched

    async def _start(
        self, start: Start, connection: str | None, held: OwnConnection | None = None
    ) -> Launched:
        environment = dict(start.environment)
        if connection is not None:
            # It runs the ProxyCommand; the user's own may read a profile first.
            environment["SHELL"] = "/bin/sh"
        if not start.resolved.hops:
            return await self._run(start, connection, environment, held=held)
        called = start.log.with_suffix(".called")
        environment = self._openers.caught(environment, called)
        if start.background:
            environment = self._openers.heard(environment, start.log)
        try:
            return await self._run(start, connection, environment, called.exists)
        except LaunchFailedError as failed:
            if called.exists():
                raise WantsBrowserError(failed.said, failed.status) from failed
            raise
        finally:
            called.unlink(missing_ok=True)

    async def _run(
        self,
        start: Start,
        connection: str | None,
        environment: Mapping[str, str],
        hopeless: Callable[[], bool] = lambda: False,
        held: OwnConnection | None = None,
    ) -> Launched:
        machines = 1 + start.resolved.hops
        prepare = self._prepare(start.name, held)
        words = master_command(
            start.name,
            start.resolved,
            start.socket_path,
            background=start.background,
            ssh=self._places.ssh,
            config=self._config,
            connection=connection,
            log=str(start.log),
        )
        return await launch(
            words,
            start.socket_path,
            start.log,
            deadline_s=ATTEMPT_DEADLINE_S * machines,
            environment=environment,
            established=start.established,
            hopeless=hopeless,
            longer_s=lambda pid: LOGIN_ROUND_TRIPS * machines * _round_trip_s(pid),
            prepare=prepare,
            waits=prepare is not None and held is None,
        )

    def _prepare(self, host: str, held: OwnConnection | None) -> Callable[[int], Awaitable[object]] | None:
        """Return what gives a new ssh its shelter, before it starts a process that stays.

        Without a connection it starts none, so one that gets ours starts at once: nobody waits for the shelter.
        """
        shelter = self._shelter
        if shelter is None or not shelter.ready:
            return None
        if held is None:
            return partial(shelter.take, host)
        held.hold()

        async def prepare(pid: int) -> None:
            try:
                await shelter.take(host, pid)
            finally:
                held.release()

        return prepare

    @property
    def _config(self) -> str | None:
        config = self._places.ssh_config
        return str(config) if config is not None else None


def _round_trip_s(pid: int) -> float:
    """Return how slow the line is that an ssh connects over, 0 where it has no connection."""
    flow = flow_of(pid)
    facts = tcp_facts(flow) if flow is not None else None
    return facts.rtt_s if facts is not None else 0.0
