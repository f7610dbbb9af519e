"""Controls without a login. Their results are posted as events."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from trayagent.agent.masters.connect import jitter
from trayagent.agent.parts import Parts
from trayagent.core.facts.actions import DialBare
from trayagent.core.facts.events import AttemptEstablished, AttemptFailed, AttemptReady
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.time_constants import BARE_CONTROL_DEADLINE_S
from trayagent.core.problem_texts import unwritable
from trayagent.ssh.login.background_guard import without_windows
from trayagent.ssh.login.classify_failure import classify
from trayagent.ssh.login.known_hosts import is_trusted
from trayagent.ssh.master.key_exchange_without_login import Answer, Server, bare_command, exchange_keys
from trayagent.ssh.master.master_logs import LogUnwritableError
from trayagent.ssh.master.name_unnamed_master import host_of_name

_DEFAULT_FILES = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)


class BareControls:
    """Runs key exchanges with servers."""

    def __init__(self, parts: Parts) -> None:
        self._file_paths = parts.file_paths
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._environment = parts.environment

    def begin(self, action: DialBare, host: Host) -> None:
        """Start a control. It is an attempt like any other, so `MasterConnector.abort` can end it."""
        self._tasks.start(f"attempt {action.attempt}", self._exchange(action, _server(action, host)))

    async def _exchange(self, action: DialBare, server: Server) -> None:
        def established() -> None:
            self._shell.post(AttemptEstablished(time.monotonic(), action.name, action.attempt))

        try:
            answer = await self._answer(action, server, established, certificates=True)
            if answer.certified:
                answer = await self._answer(action, server, established, certificates=False)
        except LogUnwritableError as error:
            self._failed(action, unwritable(str(self._file_paths.runtime_dir), error))
            return
        except OSError as error:
            problem = Problem("ssh-missing", f"{self._file_paths.ssh}: {error.strerror or error}")
            self._failed(action, Failure(problem, "ssh-missing"))
            return
        if not answer.answered:
            self._failed(action, classify(answer.output, host=f"{server.peer}:{server.port}", proven=""))
            return
        key = answer.host_key
        trusted = key is not None and is_trusted(key, server.known_as, server.known_hosts)
        self._shell.post(
            AttemptReady(time.monotonic(), action.name, action.attempt, None, host_key=key, trusted=trusted)
        )

    async def _answer(
        self, action: DialBare, server: Server, established: Callable[[], None], *, certificates: bool
    ) -> Answer:
        log = self._file_paths.attempt_log(action.attempt)
        words = bare_command(
            server,
            log,
            connect_timeout_s=round(BARE_CONTROL_DEADLINE_S),
            ssh=self._file_paths.ssh,
            config=self._file_paths.ssh_option_f,
            certificates=certificates,
            banner=action.banner,
        )
        environment = without_windows(self._environment.current())
        return await exchange_keys(
            words,
            log,
            environment,
            deadline_s=BARE_CONTROL_DEADLINE_S,
            established=established,
            banner=action.banner,
        )

    def _failed(self, action: DialBare, failure: Failure) -> None:
        self._shell.post(AttemptFailed(time.monotonic(), action.name, action.attempt, failure, jitter()))


def _server(action: DialBare, host: Host) -> Server:
    resolved = host.resolved
    files: tuple[str, ...] = _DEFAULT_FILES
    if resolved is not None:
        files = (*resolved.user_known_hosts, *resolved.global_known_hosts)
    direct = host.master is None or host.master.direct
    name = None
    if direct:  # otherwise the TCP connection goes to the jump host, whose name is not the host's
        name = host_of_name(host.name) if resolved is None else resolved.host_key_alias or resolved.hostname
    return Server(action.peer, action.port, name, tuple(Path(file).expanduser() for file in files))
