"""Keeps a link on the server pointed at the ssh-agent socket of the present connection."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from trayagent.agent.parts import Parts
from trayagent.core.facts.events import AgentSocketUpdated
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.state import State
from trayagent.errors import TrayagentError
from trayagent.ssh.mux.errors import Timeout
from trayagent.ssh.remote import agent_socket_link
from trayagent.ssh.remote.agent_socket_link import Linked

log = logging.getLogger(__name__)

_USER_WAITS_S = 1.0  # the user waits meanwhile; a link that dangles for a moment does no harm

# What a link was made for: the master, the path, and whether ssh_config forwards the agent.
_Round = tuple[int, str, bool]


class AgentSocketLinks:
    """Creates and removes links through the masters."""

    def __init__(self, parts: Parts) -> None:
        self._configuration = parts.configuration
        self._shell = parts.shell
        self._tasks = parts.tasks
        self._records = parts.records
        self._done: dict[str, _Round] = {}
        self._claimed: set[str] = set()

    def keep(self, state: State) -> None:
        """Create and remove links as the configuration says, once through each healthy master."""
        for name in self._done.keys() - state.hosts.keys():
            del self._done[name]
        for host in state.hosts.values():
            if self._configuration.agent_socket(host.name) is None:
                self._unwanted(host)
            elif self._due(host) is not None and not self._tasks.running(_task(host.name)):
                self._tasks.start(_task(host.name), self._make(host.name))

    def claim(self, name: str) -> None:
        """Point the link to this machine's connection, even if it points to another machine's: the user is here."""
        if self._configuration.agent_socket(name) is None:
            return
        self._claimed.add(name)
        self._done.pop(name, None)
        self.keep(self._shell.state)

    async def made(self, name: str) -> None:
        """Wait until the running task for this host's link has ended. Without such a task, return immediately."""
        await self._tasks.finished([_task(name)])

    async def hand_over(self, host: Host, new: Master, *, claim: bool) -> None:
        """Point the link to a new master's socket before the host is reported as connected.

        A program that used the link of the old master would wait forever. Without `claim`, do so only if this agent
        made the link. Never raises, never waits long.
        """
        link, ours = self._configuration.agent_socket(host.name), self._records.agent_socket(host.name)
        if link is None or (ours is None and not claim) or host.resolved is None:
            return
        if not host.resolved.forward_agent:
            return
        with suppress(TrayagentError):
            found = await agent_socket_link.take(
                new.control_path, link, ours, claim=claim, timeout_s=_USER_WAITS_S
            )
            if found is not None and found.outcome == "linked":
                self._records.set_agent_socket(host.name, found.words)

    async def release(self, name: str, master: Master) -> None:
        """Remove the link because the master is about to end in good order. Never raises, never waits long."""
        link, ours = self._configuration.agent_socket(name), self._records.agent_socket(name)
        if link is None or ours is None:
            return
        self._tasks.cancel(_task(name))
        with suppress(TrayagentError):
            await agent_socket_link.release(master.control_path, link, ours, timeout_s=_USER_WAITS_S)

    def _unwanted(self, host: Host) -> None:
        done = self._done.pop(host.name, None)
        if done is None:
            return
        ours = self._records.agent_socket(host.name)
        self._records.set_agent_socket(host.name, None)
        if host.master is not None and host.master.pid == done[0]:
            self._shell.post(
                AgentSocketUpdated(
                    time.monotonic(), host.name, done[0], Evidence.of(agent_socket="not_wanted")
                )
            )
            if ours is not None and not host.suspect:
                self._tasks.start(f"release {host.name}", self._release(host.master, done[1], ours))

    async def _release(self, master: Master, link: str, ours: str) -> None:
        with suppress(TrayagentError):
            await agent_socket_link.release(master.control_path, link, ours, timeout_s=_USER_WAITS_S)

    def _due(self, host: Host) -> _Round | None:
        """Return what a host's link must be made for now, None if it is made already or cannot be made now."""
        master, link = host.master, self._configuration.agent_socket(host.name)
        if master is None or link is None or host.suspect or host.ending or host.resolved is None:
            return None
        if host.wish.connect == "never" or (host.attempt is not None and host.attempt.taking_over):
            return None
        hands_off = self._shell.state.paused(host, time.monotonic()) and host.name not in self._claimed
        wanted = (master.pid, link, host.resolved.forward_agent)
        return None if hands_off or self._done.get(host.name) == wanted else wanted

    async def _make(self, name: str) -> None:
        while True:
            host = self._shell.state.hosts.get(name)
            due = self._due(host) if host is not None else None
            if host is None or host.master is None or due is None:
                return
            self._done[name] = due
            claim = name in self._claimed
            self._claimed.discard(name)
            await self._through(host, host.master, due[1], claim=claim)

    async def _through(self, host: Host, master: Master, link: str, *, claim: bool) -> None:
        if master.started_by_agent and host.resolved is not None and not host.resolved.forward_agent:
            self._report(host, master, Evidence.of(forward_agent="no"), _no_forwarding(host.name))
            return
        ours = self._records.agent_socket(host.name)
        try:
            found = await agent_socket_link.take(master.control_path, link, ours, claim=claim)
        except Timeout:
            if not self._shell.is_healthy(host.name, master):
                self._again(host.name, claim=claim)
                return
            found = Linked("failed", "the server's shell did not answer in time")
        except TrayagentError as error:
            if not self._shell.is_healthy(host.name, master):
                self._again(host.name, claim=claim)
                return
            found = Linked("failed", error.title)
        if found is None:
            found = Linked("failed", "the account runs no shell (a forced command?)")
        if found.outcome in {"linked", "kept"}:
            self._records.set_agent_socket(host.name, found.words)
        self._report(
            host,
            master,
            Evidence.of(agent_socket=f"{found.outcome} {found.words}".rstrip()),
            _problem(host.name, link, found),
        )

    def _report(self, host: Host, master: Master, evidence: Evidence, problem: Problem | None) -> None:
        log.info("%s: pid %d %s", host.name, master.pid, evidence)
        self._shell.post(AgentSocketUpdated(time.monotonic(), host.name, master.pid, evidence, problem))

    def _again(self, name: str, *, claim: bool) -> None:
        """Forget that the link was made, so that `keep` makes it once a master proves to be alive."""
        self._done.pop(name, None)
        if claim:
            self._claimed.add(name)


def _task(name: str) -> str:
    return f"agent socket of {name}"


def _problem(name: str, link: str, found: Linked) -> Problem | None:
    """Return the problem that the user sees, None if nothing is wrong."""
    reconnect = f"then: trayagent reconnect {name}"
    match found.outcome:
        case "linked" | "kept" | "other":
            return None
        case "none":
            title = f"{name} has no agent socket for {link}: the connection was made without an ssh-agent"
            hint = f"Start ssh-agent, or allow AllowAgentForwarding on {name}; {reconnect}"
        case "hidden":
            title = f"{name} shows no agent socket of this connection: its shell sets SSH_AUTH_SOCK to {found.words}"
            hint = (
                f"Set it only inside tmux or screen, and make sure that an ssh-agent runs here; {reconnect}"
            )
        case "foreign":
            title = f"{link} on {name} is a link to {found.words}, which is not an agent socket of sshd"
            hint = f"Remove it there, or choose another agent_socket; {reconnect}"
        case "occupied":
            title = f"{link} on {name} exists already and is not a link"
            hint = f"Remove it there, or choose another agent_socket; {reconnect}"
        case "failed":
            title = f"{link} on {name} could not be created: {found.words or 'no reason was given'}"
            hint = f"Fix that, {reconnect}"
    return Problem("forward-failed", title, hint)


def _no_forwarding(name: str) -> Problem:
    title = f"{name} has an agent_socket, but ssh does not forward the agent"
    return Problem(
        "forward-failed",
        title,
        f"Set ForwardAgent yes for {name} in ssh_config, then: trayagent reconnect {name}",
    )
