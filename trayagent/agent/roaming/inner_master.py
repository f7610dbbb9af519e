"""Starts the inner master of a host that roams. Its connection is a descriptor from the near relay."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from msgspec import Struct

from trayagent.agent.masters.connect import MasterConnector, daemon_of
from trayagent.agent.masters.control_path_checks import FailedError
from trayagent.agent.masters.discovery import describe
from trayagent.agent.masters.launch_preconnected import Shelter
from trayagent.agent.masters.leftovers_of_dead_agent import processes_of
from trayagent.agent.masters.link_cipher import session_cipher
from trayagent.agent.parts import Parts
from trayagent.agent.roaming.terminal import Command, Terminal
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.resolved import Resolved
from trayagent.core.policy.logins.login_deadline import deadline_s
from trayagent.core.policy.logins.when_to_retry import REFUSED_KINDS
from trayagent.errors import TrayagentError
from trayagent.ssh.login.background_guard import without_windows
from trayagent.ssh.login.classify_failure import classify, perhaps_refused
from trayagent.ssh.login.key_exchange_log import read_key_exchange
from trayagent.ssh.master import master_logs as master_log
from trayagent.ssh.master.end_master import abandon, end
from trayagent.ssh.master.launch_and_wait import LaunchFailedError, launch, read_own_log
from trayagent.ssh.master.master_command_line import master_command
from trayagent.ssh.os.control_sockets import owner_of

# ssh runs the ProxyCommand in this shell. The user's own shell may read a profile first.
_SHELL = {"SHELL": "/bin/sh"}


class InnerLoginError(TrayagentError):
    """The inner master did not start. `lasting`: the next start would fail, too.

    `code` is "refused" if the server refused the login, or may have refused it.
    """

    def __init__(self, title: str, *, code: str, lasting: bool = False) -> None:
        super().__init__(title, code=code)
        self.lasting = lasting


class InnerStart(Struct, frozen=True):
    """The start of an inner master: its `outer` master, its `fresh` path, and its `connection` to the near relay.

    `terminal` is where the user answers the prompts of ssh, None if the login must not need the user.
    """

    host: Host
    resolved: Resolved
    outer: Master
    fresh: str
    log: Path
    connection: socket.socket
    terminal: Terminal | None = None


class InnerMasters:
    """Starts inner masters."""

    def __init__(self, parts: Parts, connector: MasterConnector, shelter: Shelter | None) -> None:
        self._file_paths = parts.file_paths
        self._environment = parts.environment
        self._connector = connector
        self._shelter = shelter
        self._numbers = itertools.count(1)

    def new_log(self) -> Path:
        """Return the log file for the next start. If this agent dies, the next one finds the file by its name."""
        return self._file_paths.runtime_dir / f"attempt-{os.getpid()}-inner-{next(self._numbers)}.log"

    def forget(self, master: Master) -> None:
        """Forget the process of an inner master that ended before it was in place, and remove its logs."""
        self._connector.forget(master.pid)

    async def start(self, start: InnerStart) -> Master:
        """Return the inner master once it listens on its fresh path. Raise InnerLoginError, OSError."""
        try:
            return await self._started(start)
        finally:
            master_log.remove(start.log)

    async def _started(self, start: InnerStart) -> Master:
        at = start.log.with_name(start.log.name.replace("attempt-", "connection-").removesuffix(".log"))
        async with _offered(at, start.connection):
            if start.terminal is not None:
                pid, logged = await self._logged_in(start, start.terminal, at), None
            else:
                pid, logged = await self._launched(start, at)
        key = read_key_exchange(read_own_log(start.log), logged, logged_in=True).host_key
        master_log.rename(start.log, self._file_paths.master_log(pid))
        master = describe(pid, start.fresh, started_by_agent=True, proven=(key, start.resolved.target))
        if master is None:
            self._connector.forget(pid)
            raise InnerLoginError("The inner ssh ended at once", code="inner-ended")
        if None not in {key, start.outer.host_key} and key != start.outer.host_key:
            await end(master)
            self._connector.forget(pid)
            title = "The sshd on the server's own address proves another host key than the one that you connect to"
            raise InnerLoginError(title, code="other-key", lasting=True)
        return master

    async def _launched(self, start: InnerStart, connection: Path) -> tuple[int, int]:
        """Start ssh in the background. Return the pid of its master, and the pid of the process that logged in."""
        shelter = self._shelter if self._shelter is not None and self._shelter.ready else None
        try:
            launched = await launch(
                self._command(start, connection),
                start.fresh,
                start.log,
                deadline_s=deadline_s(0),
                environment={**without_windows(self._environment.current()), **_SHELL},
                prepare=None if shelter is None else partial(shelter.take, start.host.name),
                waits=shelter is not None,
            )
        except LaunchFailedError as failed:
            raise _explained(start.host.name, failed) from failed
        pid = launched.process.pid
        if _is_background(start.host):
            try:
                pid = await daemon_of(launched)
            except FailedError as failed:
                raise InnerLoginError(failed.failure.problem.title, code="inner-ended") from failed
        self._connector.keep(pid, launched)
        return pid, launched.process.pid

    async def _logged_in(self, start: InnerStart, terminal: Terminal, connection: Path) -> int:
        """Have ssh run at the user's terminal. Return the pid of its master."""
        auth_sock = self._environment.current().get("SSH_AUTH_SOCK")
        environment = _SHELL | ({"SSH_AUTH_SOCK": auth_sock} if auth_sock else {})
        terminal.command.set_result(Command(self._command(start, connection), str(start.log), environment))
        try:
            status = await terminal.status
            pid = owner_of(start.fresh) if status in {0, -1} else None
            if pid is None:
                raise _explained_at_terminal(start, status)
        except BaseException:
            for process in processes_of(start.fresh):
                await asyncio.shield(abandon(process))
            raise
        return pid

    def _command(self, start: InnerStart, connection: Path) -> list[str]:
        return master_command(
            start.host.name,
            start.resolved,
            start.fresh,
            background=_is_background(start.host),
            log=str(start.log),
            ssh=self._file_paths.ssh,
            config=self._file_paths.ssh_option_f,
            connection=str(connection),
            host_key=start.outer.host_key,
            cipher=session_cipher(start.resolved),
            inner=True,
            at_terminal=start.terminal is not None,
        )


@contextlib.asynccontextmanager
async def _offered(path: Path, connection: socket.socket) -> AsyncIterator[None]:
    """Listen on this path during the body, and pass the connection to ssh's helper, which connects there."""
    loop = asyncio.get_running_loop()

    def accept() -> None:
        with contextlib.suppress(OSError):
            helper, _ = listener.accept()
            with helper:
                socket.send_fds(helper, [b"\0"], [connection.fileno()])

    with connection, socket.socket(socket.AF_UNIX) as listener:
        listener.setblocking(False)
        listener.bind(str(path))
        listener.listen(1)
        loop.add_reader(listener, accept)
        try:
            yield
        finally:
            loop.remove_reader(listener)
            path.unlink(missing_ok=True)


def _is_background(host: Host) -> bool:
    """Report whether the master goes to the background and follows the user's ControlPersist."""
    return host.wish.connect != "always"


def _explained_at_terminal(start: InnerStart, status: int) -> InnerLoginError:
    if status < 0:
        return InnerLoginError("The second login was ended", code="given-up")
    name, words = start.host.name, read_own_log(start.log)
    proven = read_key_exchange(words, None)
    failure = classify(words, host=name, exit_status=status, others="", proven=proven.after)
    return _error_of(perhaps_refused(failure, proven, name))


def _explained(name: str, failed: LaunchFailedError) -> InnerLoginError:
    proven = read_key_exchange(failed.output.own, failed.pid)
    failure = classify(
        failed.output.own,
        host=name,
        exit_status=failed.status,
        others=failed.output.others,
        proven=proven.after,
    )
    return _error_of(perhaps_refused(failure, proven, name))


def _error_of(failure: Failure) -> InnerLoginError:
    if failure.kind in REFUSED_KINDS:
        title = f"The server refuses a login from its own address: {failure.problem.title}"
        return InnerLoginError(title, code="refused", lasting=True)
    if failure.perhaps_refused:  # or the outer connection was lost during the login
        return InnerLoginError(failure.problem.title, code="refused")
    return InnerLoginError(failure.problem.title, code=failure.kind)
