"""Resolves hosts with `ssh -G` and posts the answers as events."""

from __future__ import annotations

import time

from trayagent.agent.parts import Parts
from trayagent.agent.state.resolve import Resolver
from trayagent.core.facts.events import ResolveFailed
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.problems import Problem
from trayagent.core.policy.admission import admission
from trayagent.errors import TrayagentError


class HostResolver:
    """Runs `ssh -G`, one at a time for each host."""

    def __init__(self, parts: Parts, resolver: Resolver) -> None:
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._resolver = resolver

    def ask(self, name: str, lookups: bool) -> None:
        """Start to resolve one host and return immediately. `lookups`: ssh may resolve names."""
        if not self._tasks.running(f"resolve {name}"):
            self._tasks.start(f"resolve {name}", self._ask(name, lookups))

    def ask_all(self) -> None:
        """Start to resolve all hosts that have a name.

        ssh may resolve names only for hosts that may be connected on this network.
        """
        state = self._shell.state
        for host in state.hosts.values():
            if not host.unnamed:
                self.ask(host.name, admission(host, state).open)

    async def _ask(self, name: str, lookups: bool) -> None:
        try:
            answer = await self._resolver.ask(name, lookups=lookups)
        except TrayagentError as error:
            self._shell.post(ResolveFailed(time.monotonic(), name, _unresolved(error), lookups))
        else:
            self._shell.post(answer.event(name))


def _unresolved(error: TrayagentError) -> Failure:
    if error.code == "ssh-missing":
        return Failure(Problem("ssh-missing", error.title, error.hint), "ssh-missing")
    return Failure(Problem("config-error", error.title, error.hint), "config")
