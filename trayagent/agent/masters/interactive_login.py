"""Logins of the user at a terminal: the agent provides the command line and adopts the resulting master.

Theory of operation. `begin` records the attempt and returns the command line of an ssh. The client runs this command at
its terminal and reports the exit status with `end`. The ssh logs to a file. Once it listens on a fresh control path, it
goes to the background, in a Unix session of its own. If the client disappears without a report, the agent notices that
by a pidfd. Only ssh reads what the user types.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from trayagent.agent.masters.control_path_checks import ControlPaths, FailedError, fresh_for
from trayagent.agent.masters.discovery import Discovery, describe
from trayagent.agent.masters.explain_failure import explained
from trayagent.agent.masters.full_disk import no_room
from trayagent.agent.masters.leftovers_of_dead_agent import processes_of
from trayagent.agent.masters.link_cipher import link_cipher
from trayagent.agent.parts import Parts
from trayagent.agent.state.records import Begun
from trayagent.agent.state.resolve_when_needed import Resolver
from trayagent.core.facts.events import AttemptFailed, AttemptReady
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.user_events import LoginBegun, LoginGivenUp
from trayagent.core.policy.admission import admission
from trayagent.core.problem_texts import admission_problem
from trayagent.errors import TrayagentError
from trayagent.ssh.login.classify_failure import classify
from trayagent.ssh.login.key_exchange_log import read_key_exchange
from trayagent.ssh.login.login_kind import login_kind
from trayagent.ssh.master import master_logs as master_log
from trayagent.ssh.master.end_master import abandon
from trayagent.ssh.master.launch_and_wait import read_own_log
from trayagent.ssh.master.master_command_line import master_command
from trayagent.ssh.new_control_path import remove_fresh
from trayagent.ssh.os.control_sockets import owner_of
from trayagent.ssh.os.process import PidWatch

BUSY = {
    "code": "busy",
    "title": "another login to it is in progress.",
    "hint": "Finish that login at its terminal, or end it there with Ctrl-C",
}
"""The problem for other clients that want to connect the host during a login at a terminal."""


class _Login(Struct, frozen=True):
    """A login in progress: its host, the path on which the new master will listen, ssh's log, and the client."""

    host: str
    resolved: Resolved
    fresh: str
    log: Path
    client: PidWatch


class InteractiveLogins:
    """Begins and ends logins at terminals. The results are posted as events."""

    def __init__(self, parts: Parts, discovery: Discovery, resolver: Resolver, paths: ControlPaths) -> None:
        self._file_paths = parts.file_paths
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._records = parts.records
        self._environment = parts.environment
        self._discovery = discovery
        self._resolver = resolver
        self._paths = paths
        self._going_on: dict[int, _Login] = {}

    async def begin(self, name: str, client_pid: int) -> dict[str, Any]:
        """Return the attempt's number, ssh's command line and log file, and variables to add to ssh's environment.

        Any name that ssh understands is allowed. Raises TrayagentError if a login is not possible now.
        """
        known = self._shell.state.hosts.get(name)
        if known is not None and known.unnamed:
            hint = "Give it an alias with that ControlPath in ssh_config"
            raise TrayagentError(f"ssh knows no host by the name {name}.", code="unknown-host", hint=hint)
        answer = await self._resolver.resolve(name)
        host = replace(known or Host(name), resolved=answer.resolved, hop=answer.hop)
        path = self._discovery.path_of_next(host)
        # Without ssh's log, the login would record no host key, so no later recovery could prove anything.
        full = no_room(self._file_paths.attempt_log(0))
        if full is not None:
            raise TrayagentError(full.problem.title, code=full.problem.code, hint=full.problem.hint)
        try:
            await self._paths.check(path, host)
            fresh = fresh_for(path)
        except FailedError as failed:
            problem = failed.failure.problem
            raise TrayagentError(problem.title, code=problem.code, hint=problem.hint) from failed
        try:
            begun = LoginBegun(time.monotonic(), name, answer.resolved, answer.hop, answer.later_hops)
            number = await self._attempt(begun)
        except BaseException:
            remove_fresh(fresh)
            raise
        try:
            client = PidWatch(client_pid, partial(self._client_ended, number))
        except OSError as error:  # without a descriptor, the agent would miss the client's end
            remove_fresh(fresh)
            self._shell.post(LoginGivenUp(time.monotonic(), name, number))
            hint = f"Log in without the agent: ssh {name}"
            raise TrayagentError(
                f"{name}: the login cannot be watched: {error.strerror}.", hint=hint
            ) from error
        logfile = self._file_paths.attempt_log(number)
        self._records.begin_attempt(fresh, Begun(name, path, str(logfile)))
        self._going_on[number] = _Login(name, answer.resolved, fresh, logfile, client)
        words = master_command(
            name,
            answer.resolved,
            fresh,
            background=host.wish.connect != "always",
            ssh=self._file_paths.ssh,
            config=self._file_paths.ssh_option_f,
            log=str(logfile),
            cipher=link_cipher(host),
            at_terminal=True,
        )
        auth_sock = self._environment.current().get("SSH_AUTH_SOCK")
        env = {"SSH_AUTH_SOCK": auth_sock} if auth_sock else {}
        return {"attempt": number, "words": words, "log": str(logfile), "env": env}

    async def end(self, number: int, status: int) -> None:
        """Process the result of a login: adopt its master, or post the failure.

        `status` is ssh's exit status: 0 if its master listens, negative for a signal. An unknown number is ignored,
        because that login has ended already.
        """
        login = self._going_on.pop(number, None)
        if login is None:
            return
        login.client.close()
        try:
            await self._ended(number, login, status)
        finally:
            master_log.remove(login.log)

    def close(self) -> None:
        """Stop watching the clients. The next agent finds the attempts in the records."""
        for login in self._going_on.values():
            login.client.close()

    async def _attempt(self, begun: LoginBegun) -> int:
        """Return the number of the attempt that the core begins. Raises TrayagentError if the core refuses it."""
        least = self._shell.state.next_attempt
        await self._shell.decided(begun)
        state = self._shell.state
        host = state.hosts.get(begun.name) or Host(begun.name, resolved=begun.resolved, hop=begun.hop)
        attempt = host.attempt
        if attempt is not None and attempt.at_prompt and attempt.id >= least:
            return attempt.id
        if attempt is not None:
            if attempt.at_terminal:
                raise TrayagentError(f"{begun.name}: {BUSY['title']}", code=BUSY["code"], hint=BUSY["hint"])
            what = f"{begun.name}: a new connection is being put in place."
            raise TrayagentError(what, code="busy", hint="Try again in a moment")
        problem = admission_problem(host, admission(host, state, by_user=True))
        raise TrayagentError(f"{begun.name}: {problem.title}", code=problem.code, hint=problem.hint)

    async def _ended(self, number: int, login: _Login, status: int) -> None:
        listens = Path(login.fresh).exists()
        if status == 0 and listens:
            await self._ready(number, login)
            return
        # End each ssh of the login that still runs: in the background without a socket, or left behind by the client.
        for process in processes_of(login.fresh):
            await abandon(process)
        remove_fresh(login.fresh)
        self._records.end_attempt(login.fresh)
        if status < 0:
            self._shell.post(LoginGivenUp(time.monotonic(), login.host, number))
            return
        words = read_own_log(login.log)
        proven = read_key_exchange(words, None)
        # There are no messages of a jump host's ssh: they went to the terminal, not to the log.
        failure = classify(words, host=login.host, exit_status=status, others="", proven=proven.after)
        failure = explained(failure, login.resolved, self._environment.current())
        self._shell.post(
            AttemptFailed(time.monotonic(), login.host, number, failure, host_key=proven.host_key)
        )

    async def _ready(self, number: int, login: _Login) -> None:
        host_key = read_key_exchange(read_own_log(login.log), None, logged_in=True).host_key
        pid = owner_of(login.fresh)  # the kernel shows the listener; what a process claims does not count
        proven = (host_key, login.resolved.target)
        master = describe(pid, login.fresh, started_by_agent=True, proven=proven) if pid is not None else None
        if master is None:
            remove_fresh(login.fresh)
            self._records.end_attempt(login.fresh)
            problem = Problem("unknown", f"{login.host}: the new master ended immediately")
            self._shell.post(AttemptFailed(time.monotonic(), login.host, number, Failure(problem, "died")))
            return
        kind = login_kind(
            read_own_log(login.log), login.resolved, self._environment.current(), at_terminal=True
        )
        master_log.rename(login.log, self._file_paths.master_log(master.pid))
        self._records.add_master(master, login.host, [])
        self._shell.post(AttemptReady(time.monotonic(), login.host, number, master, kind, master.host_key))

    def _client_ended(self, number: int) -> None:
        """Handle a client that disappeared: keep its master if that already listens, else end its ssh."""
        login = self._going_on.get(number)
        if login is not None:
            status = 0 if Path(login.fresh).exists() else -1
            self._tasks.start(f"login {number}", self.end(number, status))
