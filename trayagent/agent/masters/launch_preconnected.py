"""Starts ssh for an attempt, with a pre-connected socket wherever ssh can take one."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from trayagent.config.file_paths import FilePaths
from trayagent.core.facts.resolved import Resolved
from trayagent.core.policy.login_deadline import deadline_s, longer_s
from trayagent.ssh.login.background_guard import Openers, ends_attempt
from trayagent.ssh.master.launch_and_wait import Launched, LaunchFailedError, launch
from trayagent.ssh.master.master_command_line import CONNECT_TIMEOUT_S, master_command, may_be_handed_over
from trayagent.ssh.master.master_logs import stderr_of
from trayagent.ssh.master.preconnect import PreconnectedSocket
from trayagent.ssh.os.tcp_connection import flow_of, tcp_facts


class Connecting(Protocol):
    """An attempt while it connects."""

    def again(self) -> None:
        """Start one more connection."""


class Progress(Protocol):
    """Follows an attempt. `connecting` is set while it connects."""

    connecting: Connecting | None

    def established(self, local: str) -> None:
        """Note that the attempt's TCP connection is established from this local address.

        May be called more than once.
        """


@dataclass(frozen=True, slots=True)
class Start:
    """One ssh to be started for `name`, which listens at `socket_path` and logs to `log`.

    ssh requests the type of `host_key` from the server first, and `cipher` if ssh_config allows it.
    """

    name: str
    resolved: Resolved
    socket_path: str
    log: Path
    background: bool
    environment: Mapping[str, str]
    progress: Progress
    host_key: str | None = None
    cipher: str | None = None


_OLD_SSH = "onfiguration option"  # the message of an old ssh without ProxyUseFdpass


class WantsBrowserError(LaunchFailedError):
    """The program that ssh connects through tried to open a browser: the user has to log in to it."""


class Shelter(Protocol):
    """Gives each new master a control group of its own, so that the master outlives the agent."""

    @property
    def ready(self) -> bool:
        """Whether a new master should wait for its control group."""

    async def take(self, host: str, pid: int) -> bool:
        """Move the process to its control group and report whether that worked. Never raises. Takes at most 50 ms."""


class MasterLauncher:
    """Starts ssh. Remembers if this machine's ssh cannot take a pre-connected socket."""

    def __init__(self, file_paths: FilePaths, shelter: Shelter | None) -> None:
        self._file_paths = file_paths
        self._shelter = shelter
        self._openers = Openers(file_paths.runtime_dir / "openers")
        self._number = 0
        self._hands_over = True

    async def launch(self, start: Start) -> Launched:
        """Return the master once it listens. Raises LaunchFailedError, WantsBrowserError, OSError."""
        self._number += 1
        at = self._file_paths.runtime_dir / f"connection-{os.getpid()}-{self._number}"
        jump = start.resolved.jump
        if not self._hands_over or not may_be_handed_over(
            start.resolved, str(at), ssh=self._file_paths.ssh, config=self._file_paths.ssh_option_f
        ):
            return await self._start(start, None)
        to = jump or start.resolved
        # If a jump host has a master of its own, the attempt needs no new connection to it.
        connection = PreconnectedSocket(
            to,
            to.connect_timeout or CONNECT_TIMEOUT_S,
            at_once=jump is None,
            established=start.progress.established,
        )
        start.progress.connecting = connection
        try:
            async with connection.offered(at):
                launched = await self._start(start, str(at), connection if jump is None else None)
            return replace(launched, release_connection=connection.close)
        except LaunchFailedError as failed:
            if connection.helper_came or (
                jump is not None and _OLD_SSH not in failed.output.own + failed.output.others
            ):
                # Only in a foreground master does ssh show the message of `fdpass`, its helper.
                raise failed.with_reason(connection.why_not) from failed
        # ssh never ran the ProxyCommand, so ssh must connect itself.
        launched = await self._start(start, None)
        self._hands_over = False
        return launched

    async def _start(
        self, start: Start, connection: str | None, held: PreconnectedSocket | None = None
    ) -> Launched:
        """Start ssh. Start it once more if it connects itself, got no answer, and a better route has appeared."""
        environment = dict(start.environment)
        if connection is not None:
            # This shell runs the ProxyCommand; the user's own shell may read a profile first.
            environment["SHELL"] = "/bin/sh"
        called = start.log.with_suffix(".called")
        if start.resolved.hops:
            environment = self._openers.caught(environment, called)
            if start.background:
                environment = self._openers.heard(environment, stderr_of(start.log))
        restart = _Restart(start.progress)
        if connection is None:
            start.progress.connecting = restart
        try:
            while True:
                try:
                    return await self._run(
                        start,
                        connection,
                        environment,
                        lambda pid: ends_attempt(called) or restart.due(pid),
                        held,
                    )
                except LaunchFailedError as failed:
                    if ends_attempt(called):
                        raise WantsBrowserError(failed.output, failed.pid, failed.status) from failed
                    if not restart.take():
                        raise
        finally:
            called.unlink(missing_ok=True)

    async def _run(
        self,
        start: Start,
        connection: str | None,
        environment: Mapping[str, str],
        hopeless: Callable[[int], bool],
        held: PreconnectedSocket | None,
    ) -> Launched:
        hops = start.resolved.hops
        prepare = self._prepare(start.name, held)
        # A jump host's ssh may use a master, and then needs no pre-connected socket.
        by_itself = connection is None or start.resolved.jump is not None
        words = master_command(
            start.name,
            start.resolved,
            start.socket_path,
            background=start.background,
            log=str(start.log),
            ssh=self._file_paths.ssh,
            config=self._file_paths.ssh_option_f,
            connection=connection,
            host_key=start.host_key,
            cipher=start.cipher,
        )
        return await launch(
            words,
            start.socket_path,
            start.log,
            deadline_s=deadline_s(hops),
            environment=environment,
            established=partial(_is_connected, start.progress) if by_itself else None,
            hopeless=hopeless,
            longer_s=lambda pid: longer_s(hops, _round_trip_s(pid)),
            prepare=prepare,
            waits=prepare is not None and held is None,
        )

    def _prepare(
        self, host: str, held: PreconnectedSocket | None
    ) -> Callable[[int], Awaitable[object]] | None:
        """Return a function that moves a new ssh to its control group, before that ssh starts a process that stays.

        Without a connection ssh starts no such process. So an ssh that gets our connection starts immediately, and
        the connection is withheld until the ssh has been moved.
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


class _Restart:
    """Decides whether an ssh that connects itself is started once more.

    It is, if a restart was requested and no server has answered it.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._requested = False
        self._due = False

    def again(self) -> None:
        """Request a restart because a better route has appeared."""
        self._requested = True

    def due(self, pid: int) -> bool:
        """Report whether this ssh should end to make room for the next one."""
        if self._requested:
            self._requested = False
            self._due = not _is_connected(self._progress, pid)
        return self._due

    def take(self) -> bool:
        """Report once whether ssh ended for a restart."""
        due, self._due = self._due, False
        return due


def _is_connected(progress: Progress, pid: int) -> bool:
    """Report whether an ssh has its connection, and pass on its local address."""
    flow = flow_of(pid)
    if flow is None:
        return False
    progress.established(flow.local_ip)
    return True


def _round_trip_s(pid: int) -> float:
    """Return the round-trip time in seconds of an ssh's connection, 0 without a connection."""
    flow = flow_of(pid)
    facts = tcp_facts(flow) if flow is not None else None
    return facts.rtt_s if facts is not None else 0.0
