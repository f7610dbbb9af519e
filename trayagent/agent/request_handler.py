"""The operations of the IPC socket: what the agent does for its clients."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Protocol

from msgspec.structs import replace

from trayagent.agent.event_loop import Shell
from trayagent.agent.events.decision_log import DecisionLog
from trayagent.agent.events.event_bus import EventBus
from trayagent.agent.forwards.agent_socket_link import AgentSocketLinks
from trayagent.agent.forwards.hand_forwards import HandForwards
from trayagent.agent.masters.discovery_schedule import DiscoverySchedule
from trayagent.agent.masters.interactive_login import BUSY, InteractiveLogins
from trayagent.agent.masters.ssh_beside_master import BesideSessions
from trayagent.agent.state.resolve_when_needed import Resolver
from trayagent.agent.view_updates import Views
from trayagent.config.dotted_key import dotted
from trayagent.core.display_state import display_problem, display_state, unreachable_problem
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.user_events import (
    UserDisconnect,
    UserPause,
    UserReconnect,
    UserResume,
    UserStopMasters,
    UserViewedStatus,
)
from trayagent.core.policy.logins.login_waits import may_be_scripted, would_be_refused
from trayagent.errors import TrayagentError
from trayagent.ssh.os.control_sockets import clients_of

_BY_CONNECTION = {"status", "watch", "why", "attached", "reconnect", "disconnect", "pause", "resume"}
_STOP_MASTERS_S = 10.0  # longer than masters and far relays take to end in good order
_QUEUE_S = 0.1  # the longest wait of `status` for queued events
_STATUS_S = 0.3  # its longest wait in all, if a probe has no answer yet


class ServedAgent(Protocol):
    """What clients may do with the agent as a whole."""

    def stop(self) -> None:
        """End the agent soon."""

    async def take_environment(self, env: dict[str, str]) -> None:
        """Note a client's environment: it may name an ssh-agent or a session bus that the agent does not know."""

    async def ready(self) -> None:
        """Wait until the first scan is over."""


class AgentHandler:
    """Answers the command line, the tray and attach. All calls run on the event loop."""

    def __init__(  # noqa: PLR0913  # one part for each kind of operation
        self,
        agent: ServedAgent,
        shell: Shell,
        *,
        events: EventBus,
        decision_log: DecisionLog,
        views: Views,
        logins: InteractiveLogins,
        schedule: DiscoverySchedule,
        agent_sockets: AgentSocketLinks,
        resolver: Resolver,
        beside: BesideSessions,
        hand_forwards: HandForwards,
    ) -> None:
        self._agent = agent
        self._shell = shell
        self._events = events
        self._decision_log = decision_log
        self._views = views
        self._logins = logins
        self._schedule = schedule
        self._agent_sockets = agent_sockets
        self._resolver = resolver
        self._beside = beside
        self._hand_forwards = hand_forwards

    async def request(self, op: str, args: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
        """Carry out an operation. Raises TrayagentError."""
        if op != "stop":
            await self._agent.take_environment(env)
            await self._agent.ready()  # before the first scan no answer would be true
        args = await self._with_hosts_of_aliases(op, args)
        match op:
            case "status":
                return await self._status(args["hosts"])
            case "why":
                name = args["host"]
                self._known([name])
                return {
                    "host": name,
                    "decisions": self._decision_log.decisions(name),
                    "beside": await self._sessions_beside(name),
                }
            case "attached":
                self._known([args["host"]])
                self._agent_sockets.claim(args["host"])
                return {}
            case "reconnect":
                return await self._reconnect(
                    args["hosts"], if_down=args.get("if_down", False), at_once=args.get("now", False)
                )
            case "login" | "logged-in":
                return await self._log_in(op, args)
            case "stop":
                return await self._stop(masters=args.get("masters", False))
            case _:
                return await self._change(op, args)

    async def _change(self, op: str, args: dict[str, Any]) -> dict[str, Any]:
        names = tuple(args["hosts"])
        self._known(names)
        now = time.monotonic()
        match op:
            case "disconnect":
                await self._shell.decided(UserDisconnect(now, names))
                await self._until(lambda: not any(self._up(n) for n in names))
            case "pause":
                await self._shell.decided(UserPause(now, names, args["for_s"]))
            case "resume":
                await self._shell.decided(UserResume(now, names))
            case _:
                raise TrayagentError(f"The agent has no operation {op!r}.")
        return {}

    async def subscribe(
        self, op: str, args: dict[str, Any], push: Callable[[dict[str, Any]], None]
    ) -> Callable[[], None]:
        """Push each item of a stream; return a function that stops this."""
        if op == "events":
            return self._events.subscribe(push)
        return self.watch((await self._with_hosts_of_aliases(op, args))["hosts"], push)

    def watch(self, names: list[str], push: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Push the view of these hosts (none: all) now and at each change; return a function that stops this."""
        self._known(names)
        self._note_view(names)
        return self._views.subscribe(names, push)

    async def _status(self, names: list[str]) -> dict[str, Any]:
        self._known(names)
        began = time.monotonic()
        self._note_view(names)
        self._beside.viewed()
        await self._hand_forwards.scan()
        # Wait until draining masters are counted and probes are answered, but not for long: while many hosts recover,
        # the queue stays full, and a silent master does not answer.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_QUEUE_S):
                await self._shell.decided()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(began + _STATUS_S - time.monotonic()):
                while self._unanswered(names, began):
                    await self._views.changed()
        return self._views.current(names)

    async def _sessions_beside(self, name: str) -> list[dict[str, Any]]:
        """Search for ssh sessions beside a host's master, and return them as in the view."""
        self._beside.viewed()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_QUEUE_S):
                await self._shell.decided()
        hosts = self._views.current([name])["hosts"]
        return [session for host in hosts for session in host["beside"]]

    def _unanswered(self, names: Collection[str], since: float) -> bool:
        """Report whether a probe of one of these hosts (none: all) that was sent later has no answer yet."""
        hosts = self._shell.state.hosts.values()
        sent = (host.probed_at for host in hosts if not names or host.name in names)
        return any(at is not None and at >= since for at in sent)

    def _note_view(self, names: Iterable[str]) -> None:
        self._schedule.scan()
        self._shell.post(UserViewedStatus(time.monotonic(), tuple(names)))

    async def _reconnect(self, names: list[str], *, if_down: bool, at_once: bool) -> dict[str, Any]:
        """Reconnect hosts; with `if_down`, only those without a working connection.

        `if_down` is for scripts, not for the user: it repeats no refused login and ends no suspended session.
        `at_once`: end the old connections even if they answer.
        """
        self._known(names)
        chosen = tuple(names) or self._default_names()
        left_out = {} if names else self._left_out()
        if if_down:
            self._note_view(chosen)
            await self._shell.decided()
            await self._until(lambda: not any(self._undecided(n) for n in chosen))
        kept = frozenset(n for n in chosen if if_down and self._proven(n))
        left = kept | frozenset(n for n in chosen if if_down and not self._scripted(n))
        masters = {n: h.master for n in chosen if (h := self._host(n)) is not None and h.master is not None}
        known = {n: h for n in chosen if (h := self._host(n)) is not None and h.masters}
        paths = {n: h.masters[-1].control_path for n, h in known.items()}
        inner = {n: h.roaming.inner.pid for n, h in known.items() if h.roaming is not None}
        sessions = {n: clients_of(path) for n, path in paths.items() if n not in left}
        began = time.monotonic()
        await self._shell.decided(UserReconnect(began, tuple(n for n in chosen if n not in left), at_once))
        await self._until(
            lambda: not any(self._busy(n) and not self._at_prompt(n) for n in chosen if n not in left)
        )
        before = {n: master.pid for n, master in masters.items()}
        outcomes = [self._outcome(n, before.get(n)) | {"kept": n in kept} for n in chosen]
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
            if outcome["name"] in names and outcome.get("replaced"):
                self._agent_sockets.claim(outcome["name"])  # a reconnect request means that the user is here
        return {"hosts": outcomes, "left_out": left_out}

    def _sessions(self, name: str, old: int | None, before: int | None) -> dict[str, Any]:
        """Return how many sessions of a replaced master ended, or how many continue because the master drains."""
        for host in self._shell.state.draining(name):
            if host.draining is not None and host.master is not None and host.master.pid == old:
                kept = host.draining
                return {"sessions_kept": kept.sessions, "connections_kept": kept.connections}
        return {"sessions_ended": before}

    async def _log_in(self, op: str, args: dict[str, Any]) -> dict[str, Any]:
        name = args["host"]
        if op == "login":
            return await self._logins.begin(name, args["pid"])
        await self._logins.end(args["attempt"], args["status"])
        await self._shell.decided()
        await self._until(lambda: not self._busy(name))
        return self._outcome(name, None)

    async def _stop(self, *, masters: bool) -> dict[str, Any]:
        """Stop the agent; with `masters`, first end the masters that trayagent started."""
        ours: set[int] = set()
        if masters:
            await self._agent.ready()
            ours = {m.pid for m in self._own_masters()}
            await self._shell.decided(UserStopMasters(time.monotonic()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_MASTERS_S):
                    await self._until(lambda: not any(self._own_masters()))
        left = {m.pid for m in self._own_masters()} if masters else set[int]()
        self._agent.stop()
        return {"ended": len(ours - left), "left": sorted(left)}

    def _own_masters(self) -> Iterator[Master]:
        """Yield the masters that trayagent started."""
        return (
            m
            for h in self._shell.state.hosts.values()
            if not h.unnamed
            for m in h.masters
            if m.started_by_agent
        )

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

    def _busy(self, name: str) -> bool:
        host = self._host(name)
        if host is None:
            return False
        return host.user.reconnect or host.attempt is not None or host.attaching or host.renewing

    def _at_prompt(self, name: str) -> bool:
        host = self._host(name)
        return host is not None and host.at_prompt

    def _outcome(self, name: str, before: int | None) -> dict[str, Any]:
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

    def _up(self, name: str) -> bool:
        host = self._host(name)
        return (host is not None and host.master is not None) or bool(self._shell.state.draining(name))

    def _host(self, name: str) -> Host | None:
        return self._shell.state.hosts.get(name)

    def _known(self, names: Iterable[str]) -> None:
        hosts = self._shell.state.hosts
        for name in names:
            if name not in hosts:
                raise self._unknown(name)

    async def _with_hosts_of_aliases(self, op: str, args: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with the hosts whose masters the named aliases use.

        A login is for the alias itself, because that alias may not have a connection yet.
        """
        if op not in _BY_CONNECTION:
            return args
        if "host" in args:
            return args | {"host": await self._with_connection_of(args["host"])}
        names = [await self._with_connection_of(name) for name in args.get("hosts", ())]
        return args | {"hosts": list(dict.fromkeys(names))}

    async def _with_connection_of(self, name: str) -> str:
        """Return the host whose master an alias of ssh_config uses: two aliases may share one Host block."""
        hosts = self._shell.state.hosts
        if name in hosts or name not in self._resolver.aliases():
            return name
        try:
            path = (await self._resolver.resolve(name)).resolved.control_path
        except TrayagentError:
            return name
        users = (h.name for h in hosts.values() if h.master is not None and h.master.control_path == path)
        return next(users, name)

    def _unknown(self, name: str) -> TrayagentError:
        if name in self._resolver.aliases():
            title = f"{name} is in ssh_config, but not listed, and no master of it is up."
            table = f"[{dotted('hosts', name)}]"
            hint = f"Connect it once: trayagent login {name}. Or list it in the configuration: {table}"
            return TrayagentError(title, code="unknown-host", hint=hint)
        close = get_close_matches(name, self._shell.state.hosts, 1)
        hint = f"Did you mean {close[0]}?" if close else "`trayagent status` lists all hosts."
        return TrayagentError(f"The agent knows no host {name!r}.", code="unknown-host", hint=hint)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._views.changed()
