"""The inner login of a host whose login needs the user, at the terminal where the user just logged in.

Theory of operation. `trayagent login` first logs in to the outer master, as for any host. Then it requests the inner
login. The agent starts the far relay and attaches to it, and returns the command line of the inner ssh. The client runs
that command at its terminal, where ssh may prompt again, and reports the exit status. From then on, the far relay's
port carries the sessions from each network, without a further login.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

from msgspec import Struct

from trayagent.agent.parts import Parts
from trayagent.agent.roaming.roaming_hosts import RoamingHosts
from trayagent.agent.roaming.terminal import Command, Terminal
from trayagent.core.facts import actions as a
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.roaming_events import RoamingLoginBegun
from trayagent.ssh.os.process import PidWatch

_NONE: dict[str, Any] = {"words": None, "reason": None}


class _Login(Struct, frozen=True):
    """A login in progress: its host, the terminal, the client's process, and the task that makes the host roam."""

    host: str
    terminal: Terminal
    client: PidWatch
    task: asyncio.Task[None]


class RoamingLogins:
    """Begins and ends inner logins at terminals."""

    def __init__(self, parts: Parts, roaming: RoamingHosts) -> None:
        self._shell = parts.shell
        self._roaming = roaming
        self._number = 0
        self._going_on: dict[int, _Login] = {}

    async def begin(self, name: str, client_pid: int) -> dict[str, Any]:
        """Return the login's number, ssh's command line (`words`) and its log file.

        `words` is None if the host does not begin to roam now. Then `reason` says why, or is None if it is not to.
        """
        before = self._shell.state.hosts.get(name)
        if before is None or before.master is None or before.roaming_start.through is not None:
            return _NONE
        await self._shell.decided(RoamingLoginBegun(time.monotonic(), name))
        host = self._shell.state.hosts.get(name)
        if host is None or host.master is None or host.roaming_start.through != host.master.pid:
            return _NONE
        terminal = Terminal()
        try:
            client = PidWatch(client_pid, partial(terminal.report, -1))
        except OSError:  # the client ended already
            client = None
            terminal.report(-1)
        task = self._roaming.begin(a.BeginRoaming(name, host.master), host, terminal)
        waits: set[asyncio.Future[Any]] = {task, terminal.command}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not terminal.command.done() or client is None:
            if client is not None:
                client.close()
            return {"words": None, "reason": self._reason(name)}
        self._number += 1
        self._going_on[self._number] = _Login(name, terminal, client, task)
        command: Command = terminal.command.result()
        return {"login": self._number, "words": command.words, "log": command.log, "env": command.environment}

    async def end(self, number: int, status: int) -> dict[str, Any]:
        """Process ssh's exit status: 0 if its master listens, negative for a signal. Return whether the host roams."""
        login = self._going_on.pop(number, None)
        if login is None:
            return {"roams": False, "reason": None}
        login.client.close()
        login.terminal.report(status)
        await asyncio.wait({login.task})
        host = self._shell.state.hosts.get(login.host)
        return {"roams": host is not None and host.roaming is not None, "reason": self._reason(login.host)}

    def _reason(self, name: str) -> str | None:
        host: Host | None = self._shell.state.hosts.get(name)
        return host.roaming_start.failure if host is not None else None
