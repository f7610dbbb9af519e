"""What `reconnect` does, and what it answers for each host."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from trayagent.agent.event_loop import Shell
from trayagent.agent.forwards.agent_socket_link import AgentSocketLinks
from trayagent.agent.masters.discovery_schedule import DiscoverySchedule
from trayagent.agent.masters.interactive_login import BUSY
from trayagent.agent.view_updates import Views
from trayagent.core.display_state import display_problem, display_state, unreachable_problem
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.user_events import UserReconnect, UserViewedStatus
from trayagent.core.policy.logins.login_waits import may_be_scripted, would_be_refused
from trayagent.core.policy.shared_connection import owner_of_connection
from trayagent.ssh.os.control_sockets import clients_of


def note_view(shell: Shell, schedule: DiscoverySchedule, names: Iterable[str]) -> None:
    """Search for masters, and probe those of these hosts (none: all), because somebody wants to know their state."""
    schedule.scan()
    shell.post(UserViewedStatus(time.monotonic(), tuple(names)))


class ReconnectRequests:
    """Carries out `reconnect`, and reports the outcome of each host."""

    def __init__(
        self, shell: Shell, views: Views, schedule: DiscoverySchedule, agent_sockets: AgentSocketLinks
    ) -> None:
        self._shell = shell
        self._views = views
        self._schedule = schedule
        self._agent_sockets = agent_sockets

    async def reconnect(self, names: list[str], *, if_down: bool, at_once: bool) -> dict[str, Any]:
        """Reconnect hosts; with `if_down`, only those without a working connection.

        `if_down` is for scripts, not for the user: it repeats no refused login and ends no suspended session.
        `at_once`: end the old connections even if they answer. If a host uses the connection of another one, that one
        is reconnected in its place.
        """
        chosen = tuple(dict.fromkeys(self._owner(n) for n in names or self._default_names()))
        left_out = {} if names else self._left_out()
        if if_down:
            note_view(self._shell, self._schedule, chosen)
            await self._shell.decided()
            await self._views.until(lambda: not any(self._undecided(n) for n in chosen))
        kept = frozenset(n for n in chosen if if_down and self._proven(n))
        left = kept | frozenset(n for n in chosen if if_down and not self._scripted(n))
        masters = {n: h.master for n in chosen if (h := self._host(n)) is not None and h.master is not None}
        known = {n: h for n in chosen if (h := self._host(n)) is not None and h.masters}
        paths = {n: h.masters[-1].control_path for n, h in known.items()}
        inner = {n: h.roaming.inner.pid for n, h in known.items() if h.roaming is not None}
        sessions = {n: clients_of(path) for n, path in paths.items() if n not in left}
        began = time.monotonic()
        await self._shell.decided(UserReconnect(began, tuple(n for n in chosen if n not in left), at_once))
        await self._views.until(
            lambda: not any(self.busy(n) and not self._at_prompt(n) for n in chosen if n not in left)
        )
        before = {n: master.pid for n, master in masters.items()}
        outcomes = [self.outcome(n, before.get(n)) | {"kept": n in kept} for n in chosen]
        for outcome in outcomes:
            host = self._host(outcome["name"])
            if outcome["replaced"] and host is not None and host.login.worked_at >= began:
                kept_inner = host.roaming is not None and host.roaming.inner.pid == inner.get(host.name)
                done = (
                    time.monotonic() if kept_inner else host.login.worked_at
                )  # for a host that roams, the attach ends it, and that is now
                outcome["took_ms"] = round((done - began) * 1e3, 1)
                if not kept_inner:  # otherwise all sessions continue, through the new connection
                    outcome.update(self._sessions(host.name, before.get(host.name), sessions.get(host.name)))
            if names and outcome.get("replaced"):
                self._agent_sockets.claim(outcome["name"])  # a reconnect request means that the user is here
        return {"hosts": outcomes, "left_out": left_out}

    def _owner(self, name: str) -> str:
        """Return the host whose connection a host uses: its own name, or another name of the account."""
        host = self._host(name)
        owner = owner_of_connection(host, self._shell.state.hosts) if host is not None else None
        return owner.name if owner is not None else name

    def _sessions(self, name: str, old: int | None, before: int | None) -> dict[str, Any]:
        """Return how many sessions of a replaced master ended, or how many continue because the master drains."""
        for host in self._shell.state.draining(name):
            if host.draining is not None and host.master is not None and host.master.pid == old:
                kept = host.draining
                return {"sessions_kept": kept.sessions, "connections_kept": kept.connections}
        return {"sessions_ended": before}

    def _left_out(self) -> dict[str, str]:
        """Return the `always` hosts that a reconnect without names leaves out, each with the reason."""
        now, state = time.monotonic(), self._shell.state
        found: dict[str, str] = {}
        for host in state.hosts.values():
            if not host.wish.listed or host.wish.connect != "always":
                continue
            if host.user.held:
                found[host.name] = "disconnected"
            elif state.paused(host, now):
                found[host.name] = "paused"
            elif host.at_prompt:
                found[host.name] = "at-prompt"
            elif would_be_refused(host):
                found[host.name] = "refused"
        return found

    def _default_names(self) -> tuple[str, ...]:
        """Return the `always` hosts that are not paused, disconnected, refused or at a prompt."""
        now = time.monotonic()
        state = self._shell.state
        return tuple(
            h.name
            for h in state.hosts.values()
            if h.wish.listed
            and h.wish.connect == "always"
            and not h.user.held
            and not state.paused(h, now)
            and not would_be_refused(h)
            and not h.at_prompt
        )

    def _scripted(self, name: str) -> bool:
        """Report whether a script may request a login of the host."""
        host = self._host(name)
        return host is None or may_be_scripted(host, self._shell.state, time.monotonic())

    def _undecided(self, name: str) -> bool:
        """Report whether the agent is still checking the host's master, and will know soon whether it works."""
        host, now = self._host(name), time.monotonic()
        if host is None or host.master is None or host.wish.connect == "never":
            return False
        if self._shell.state.paused(host, now):
            return False
        if not host.suspect:
            return host.doubt.probe is not None or host.attaching or host.renewing
        return display_state(host, self._shell.state, now) in {"checking", "connecting"}

    def _proven(self, name: str) -> bool:
        """Report whether the host has a master that is not in doubt, and a link if it roams."""
        host = self._host(name)
        return host is not None and host.master is not None and not host.suspect and host.linked

    def busy(self, name: str) -> bool:
        """Report whether a host has an attempt or a change that is not over."""
        host = self._host(name)
        if host is None:
            return False
        return host.user.reconnect or host.attempt is not None or host.attaching or host.renewing

    def _at_prompt(self, name: str) -> bool:
        host = self._host(name)
        return host is not None and host.at_prompt

    def outcome(self, name: str, before: int | None) -> dict[str, Any]:
        """Return what became of a request to connect a host, whose master was the process `before`."""
        host = self._host(name)
        if host is None:
            return {"name": name, "state": "idle", "problem": None, "replaced": False, "pid": None}
        if host.at_prompt:  # the user may never answer the prompt, so do not wait for the login
            return {"name": name, "state": "connecting", "problem": BUSY, "replaced": False, "pid": None}
        now = time.monotonic()
        # A reconnect by the user ignores a pause of all hosts, so the outcome must ignore such a pause, too.
        through = replace(self._shell.state, paused_until=None)
        state, wrong = display_state(host, through, now), display_problem(host, through, now)
        if state != "connected" and wrong is None:
            state = display_state(host, self._shell.state, now)
        if wrong is None and state == "idle":
            wrong = unreachable_problem(host, self._shell.state)
        problem = wrong.as_json() if wrong is not None else None
        replaced = host.master is not None and host.master.pid != before
        pid = host.master.pid if host.master is not None else None
        outcome = {"name": name, "state": state, "problem": problem, "replaced": replaced, "pid": pid}
        return outcome | {"resume": self._resume(host, now)}

    def _resume(self, host: Host, now: float) -> str | None:
        """Return the command that ends the pause of a host, None if the host is not paused."""
        if not self._shell.state.paused(host, now):
            return None
        own = host.user.paused_until is not None and host.user.paused_until > now
        return f"trayagent resume {host.name}" if own else "trayagent resume"

    def _host(self, name: str) -> Host | None:
        return self._shell.state.hosts.get(name)
