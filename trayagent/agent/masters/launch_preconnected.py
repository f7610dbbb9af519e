"""Starts ssh for an attempt, with a pre-connected socket wherever ssh can take one."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from trayagent.config.file_paths import FilePaths
from trayagent.core.facts.mptcp import MptcpTry, Outcome
from trayagent.core.facts.resolved import Resolved
from trayagent.core.policy.logins.login_deadline import deadline_s, longer_s
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

    def mute(self, *, muted: bool = True) -> bool:
        """Send nothing more, or send again. Return False if that is impossible."""


class Progress(Protocol):
    """Receives the progress of an attempt. `connecting` is set while the attempt connects.

    `answer_s`: how long to wait for the answer to a login if the attempt is cancelled.
    """

    connecting: Connecting | None
    answer_s: float

    def established(
        self,
        local: str,
        peer: str,
        addresses: frozenset[str] = frozenset(),
        mptcp: Outcome | None = None,
    ) -> None:
        """Note that the attempt's TCP connection is established between these addresses.

        `addresses` are all addresses of the name, if known. `mptcp` is how Multipath TCP went, None if it was not
        tried. May be called more than once.
        """


class Start(Struct, frozen=True):
    """One ssh to be started for the host `name`. It will listen at `socket_path` and log to `log`.

    `host_key`: ssh requests a key of this key's type first. `cipher`: ssh requests it first, if ssh_config allows it.
    `address`: connect to this address of the host, whatever its name leads to. `first`: if the name has several
    addresses, try this one first. Both need a pre-connected socket, and `address` one to the host itself. `mptcp`: the
    pre-connected socket uses Multipath TCP in this way. `interface`: connect through this interface only. Then ssh
    never connects itself.
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
    address: str | None = None
    first: str | None = None
    mptcp: MptcpTry | None = None
    interface: str | None = None


_OLD_SSH = "onfiguration option"  # part of the message of an old ssh without ProxyUseFdpass


class WantsBrowserError(LaunchFailedError):
    """The ProxyCommand of ssh tried to open a browser, so the user must log in there first."""


class Shelter(Protocol):
    """Gives each new master a control group of its own, so that the master outlives the agent."""

    @property
    def ready(self) -> bool:
        """Whether a new master should wait for its control group."""

    async def take(self, host: str, pid: int) -> bool:
        """Move the process to its control group and report whether that worked. Never raises. Takes at most 50 ms."""


class MasterLauncher:
    """Starts ssh. Remembers whether this machine's ssh is too old to take a pre-connected socket.

    `slow_s` returns how many seconds more a host's login may take, because ssh takes long to read its configuration.
    """

    def __init__(
        self, file_paths: FilePaths, shelter: Shelter | None, slow_s: Callable[[str], float]
    ) -> None:
        self._slow_s = slow_s
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
            if start.interface is not None:
                raise OSError(errno.EOPNOTSUPP, "ssh takes no connection of the agent")
            return await self._start(start, None)
        to = jump or replace(start.resolved, hostname=start.address or start.resolved.hostname)
        # A jump host may have a master of its own. So connect to it only when its ssh requests the connection.
        connection = PreconnectedSocket(
            to,
            to.connect_timeout or CONNECT_TIMEOUT_S,
            at_once=jump is None,
            established=start.progress.established,
            first=start.first,
            mptcp=start.mptcp,
            interface=start.interface,
        )
        start.progress.connecting = connection
        try:
            async with connection.offered(at):
                launched = await self._start(start, str(at), connection if jump is None else None)
            return replace(launched, release_connection=connection.close, mute_connection=connection.mute)
        except LaunchFailedError as failed:
            if (
                connection.helper_came
                or start.interface is not None
                or (jump is not None and _OLD_SSH not in failed.output.own + failed.output.others)
            ):
                # Add the reason, because only a master in the foreground shows the message of `fdpass`, its helper.
                raise failed.with_reason(connection.why_not) from failed
        # ssh never ran the ProxyCommand that takes the pre-connected socket, so ssh must connect itself.
        launched = await self._start(start, None)
        self._hands_over = False
        return launched

    async def _start(
        self, start: Start, connection: str | None, held: PreconnectedSocket | None = None
    ) -> Launched:
        """Start ssh. If ssh connects itself, restart it when a better route appears before a server answers."""
        environment = dict(start.environment)
        if connection is not None:
            # ssh runs the ProxyCommand in this shell. The user's own shell may read a profile first.
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
        # A jump host's ssh may use a master instead of the pre-connected socket, so watch for ssh's own connection.
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
            deadline_s=deadline_s(hops) + self._slow_s(start.name),
            environment=environment,
            established=partial(_is_connected, start.progress) if by_itself else None,
            hopeless=hopeless,
            longer_s=lambda pid: longer_s(hops, _round_trip_s(pid)),
            prepare=prepare,
            waits=prepare is not None and held is None,
            answer_s=lambda: start.progress.answer_s,
        )

    def _prepare(
        self, host: str, held: PreconnectedSocket | None
    ) -> Callable[[int], Awaitable[object]] | None:
        """Return a function that moves a new ssh to its control group. None: the ssh is not moved.

        The move must come before ssh starts a lasting process. ssh starts none before it is connected. So an ssh that
        takes our connection (`held`) may start immediately, and gets the connection after the move.
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
    """Decides whether to restart an ssh that connects itself.

    A restart is due if it was requested while the ssh had no connection.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._requested = False
        self._due = False

    def again(self) -> None:
        """Request a restart because a better route has appeared."""
        self._requested = True

    def mute(self, *, muted: bool = True) -> bool:
        """Return False, because the connection is ssh's own."""
        del muted
        return False

    def due(self, pid: int) -> bool:
        """Report whether this ssh should end, so that it can be restarted."""
        if self._requested:
            self._requested = False
            self._due = not _is_connected(self._progress, pid)
        return self._due

    def take(self) -> bool:
        """Report whether ssh ended for a restart; the next call reports False."""
        due, self._due = self._due, False
        return due


def _is_connected(progress: Progress, pid: int) -> bool:
    """Report whether an ssh has its TCP connection. If so, report the local address to `progress`."""
    flow = flow_of(pid)
    if flow is None:
        return False
    progress.established(flow.local_ip, flow.peer_ip)
    return True


def _round_trip_s(pid: int) -> float:
    """Return the round-trip time in seconds of an ssh's connection, 0 without a connection."""
    flow = flow_of(pid)
    facts = tcp_facts(flow) if flow is not None else None
    return facts.rtt_s if facts is not None else 0.0
