"""The operations of the IPC socket: what the agent does for its clients."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

from trayagent.agent.event_loop import Shell
from trayagent.agent.events.decision_log import DecisionLog
from trayagent.agent.events.event_bus import EventBus
from trayagent.agent.forwards.agent_socket_link import AgentSocketLinks
from trayagent.agent.forwards.hand_forwards import HandForwards
from trayagent.agent.host_names import HostNames
from trayagent.agent.masters.check_mptcp import MptcpChecks
from trayagent.agent.masters.discovery_schedule import DiscoverySchedule
from trayagent.agent.masters.interactive_login import InteractiveLogins
from trayagent.agent.masters.ssh_beside_master import BesideSessions
from trayagent.agent.reconnect_request import ReconnectRequests, note_view
from trayagent.agent.roaming.terminal_login import RoamingLogins
from trayagent.agent.state.resolve_when_needed import Resolver
from trayagent.agent.view_updates import Views
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.user_events import (
    UserDisconnect,
    UserPause,
    UserResume,
    UserStopMasters,
)
from trayagent.errors import TrayagentError

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
        roaming_logins: RoamingLogins,
        schedule: DiscoverySchedule,
        agent_sockets: AgentSocketLinks,
        resolver: Resolver,
        beside: BesideSessions,
        hand_forwards: HandForwards,
        mptcp_checks: MptcpChecks,
    ) -> None:
        self._agent = agent
        self._shell = shell
        self._events = events
        self._decision_log = decision_log
        self._views = views
        self._logins = logins
        self._roaming_logins = roaming_logins
        self._schedule = schedule
        self._agent_sockets = agent_sockets
        self._host_names = HostNames(shell, resolver)
        self._reconnects = ReconnectRequests(shell, views, schedule, agent_sockets)
        self._beside = beside
        self._hand_forwards = hand_forwards
        self._mptcp_checks = mptcp_checks

    async def request(self, op: str, args: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
        """Carry out an operation. Raises TrayagentError."""
        if op != "stop":
            await self._agent.take_environment(env)
            await self._agent.ready()  # before the first scan no answer would be true
        args = await self._host_names.with_hosts_of_aliases(op, args)
        match op:
            case "status":
                return await self._status(args["hosts"])
            case "why":
                name = args["host"]
                self._host_names.check([name])
                beside = await self._sessions_beside(name)
                return {
                    "host": name,
                    "decisions": self._decision_log.decisions(name),
                    "beside": beside,
                    **self._standby(name),
                }
            case "attached" | "check-mptcp":
                return await self._for_host(op, args["host"])
            case "reconnect":
                self._host_names.check(args["hosts"])
                return await self._reconnects.reconnect(
                    args["hosts"], if_down=args.get("if_down", False), at_once=args.get("now", False)
                )
            case "login" | "logged-in":
                return await self._log_in(op, args)
            case "login-inner":
                return await self._roaming_logins.begin(args["host"], args["pid"])
            case "logged-in-inner":
                return await self._roaming_logins.end(args["login"], args["status"])
            case "stop":
                return await self._stop(masters=args.get("masters", False))
            case _:
                return await self._change(op, args)

    async def _for_host(self, op: str, name: str) -> dict[str, Any]:
        self._host_names.check([name])
        if op == "check-mptcp":
            return {"mptcp": await self._mptcp_checks.check(name)}
        self._agent_sockets.claim(name)
        return {}

    async def _change(self, op: str, args: dict[str, Any]) -> dict[str, Any]:
        names = tuple(args["hosts"])
        self._host_names.check(names)
        now = time.monotonic()
        match op:
            case "disconnect":
                await self._shell.decided(UserDisconnect(now, names))
                await self._views.until(lambda: not any(self._up(n) for n in names))
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
        return self.watch((await self._host_names.with_hosts_of_aliases(op, args))["hosts"], push)

    def watch(self, names: list[str], push: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Push the view of these hosts (none: all) now and at each change; return a function that stops this."""
        self._host_names.check(names)
        note_view(self._shell, self._schedule, names)
        return self._views.subscribe(names, push)

    async def _status(self, names: list[str]) -> dict[str, Any]:
        self._host_names.check(names)
        began = time.monotonic()
        note_view(self._shell, self._schedule, names)
        self._beside.viewed()
        await self._hand_forwards.scan()
        # Wait until draining masters are counted and probes are answered, but not for long: while many hosts recover,
        # events wait, and a silent master does not answer.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_QUEUE_S):
                await self._shell.caught_up()  # with this request
                await self._shell.caught_up()  # with the reports that it caused
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

    def _standby(self, name: str) -> dict[str, Any]:
        """Return the host's standby, or why it has none, as in the view."""
        hosts = self._views.current([name])["hosts"]
        return {key: host[key] for host in hosts for key in ("standby", "no_standby")}

    def _unanswered(self, names: Collection[str], since: float) -> bool:
        """Report whether a probe of one of these hosts (none: all) that was sent later has no answer yet."""
        hosts = self._shell.state.hosts.values()
        sent = (host.probed_at for host in hosts if not names or host.name in names)
        return any(at is not None and at >= since for at in sent)

    async def _log_in(self, op: str, args: dict[str, Any]) -> dict[str, Any]:
        name = args["host"]
        if op == "login":
            return await self._logins.begin(name, args["pid"])
        await self._logins.end(args["attempt"], args["status"])
        await self._shell.decided()
        await self._views.until(lambda: not self._reconnects.busy(name))
        return self._reconnects.outcome(name, None)

    async def _stop(self, *, masters: bool) -> dict[str, Any]:
        """Stop the agent; with `masters`, first end the masters that trayagent started."""
        ours: set[int] = set()
        if masters:
            await self._agent.ready()
            ours = {m.pid for m in self._own_masters()}
            await self._shell.decided(UserStopMasters(time.monotonic()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_MASTERS_S):
                    await self._views.until(lambda: not any(self._own_masters()))
        left = {m.pid for m in self._own_masters()} if masters else set[int]()
        self._agent.stop()
        return {"ended": len(ours - left), "left": sorted(left)}

    def _own_masters(self) -> Iterator[Master]:
        """Yield the masters that trayagent started."""
        return (
            m
            for h in self._shell.state.hosts.values()
            if h.draining is not None or not h.unnamed
            for m in h.masters
            if m.started_by_agent
        )

    def _up(self, name: str) -> bool:
        host = self._host(name)
        return (host is not None and host.master is not None) or bool(self._shell.state.draining(name))

    def _host(self, name: str) -> Host | None:
        return self._shell.state.hosts.get(name)
