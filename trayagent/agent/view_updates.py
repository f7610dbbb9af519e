"""The view for clients: computed for each request, and for watchers at most ten times a second.

With a hundred hosts, a view takes 10 ms, and many hosts change in the seconds after a move. So the view is pushed less
often then. The states of hosts that did not change are recorded once a second: they depend on other hosts and on time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from trayagent.agent import clock_conversion
from trayagent.agent.event_loop import Shell
from trayagent.agent.events.event_bus import EventBus
from trayagent.core.display_state import display_state
from trayagent.core.facts.actions import Publish
from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.view import AgentFacts, view, vpn_names
from trayagent.core.vpn_state import vpn_display_state

PACE_S = 0.1  # push the first change immediately, and combine changes that are too fast to read
ALL_S = 1.0  # between two records of all hosts' states
_PAUSE = 9  # after a push, pause for this many times the time that it took


class DescribesAgent(Protocol):
    """Knows the facts of the agent itself."""

    def facts(self) -> AgentFacts:
        """Return the agent's facts."""


class Views:
    """Records when each display state began, and pushes the view to watchers after changes."""

    def __init__(self, shell: Shell, agent: DescribesAgent, events: EventBus) -> None:
        self._shell = shell
        self._agent = agent
        self._events = events
        self._shown: dict[str, tuple[str, float]] = {}
        self._watchers: dict[int, tuple[frozenset[str], Callable[[dict[str, Any]], None]]] = {}
        self._count = 0
        self._due: asyncio.TimerHandle | None = None
        self._push_from = float("-inf")
        self._changed = asyncio.Event()
        self._noted: dict[str, Host] = {}  # the hosts as they were when their states were recorded
        self._noted_at = self._all_noted_at = float("-inf")
        self._noting: asyncio.TimerHandle | None = None
        self._noting_all: asyncio.TimerHandle | None = None

    def current(self, names: Iterable[str] = ()) -> dict[str, Any]:
        """Return the view. If `names` has hosts, include only these."""
        chosen = frozenset(names)
        now = self._note_all() if not chosen else self._note(self._hosts(chosen))
        return self._whole(now, chosen)

    def subscribe(self, names: Iterable[str], push: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Push the view now and at each change; return a function that stops this."""
        self._count += 1
        number = self._count
        self._watchers[number] = (frozenset(names), push)
        push(self.current(names))
        return lambda: self._watchers.pop(number, None) and None

    def note_change(self) -> None:
        """Note that the core decided something, so the view may differ."""
        self._note_soon()
        self._changed.set()
        self._changed = asyncio.Event()
        if self._watchers and self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_at(max(loop.time(), self._push_from), self._push)

    async def changed(self) -> None:
        """Wait until the core has decided something."""
        await self._changed.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds after a decision of the core."""
        while not condition():
            await self.changed()

    def _whole(self, now: float, names: frozenset[str] = frozenset()) -> dict[str, Any]:
        since = {key: at for key, (_, at) in self._shown.items()}
        return view(self._shell.state, self._agent.facts(), since, clock_conversion.wall_of, now, names=names)

    def _push(self) -> None:
        self._due = None
        began, began_cpu = asyncio.get_running_loop().time(), time.thread_time()
        whole = self._whole(self._note_all())
        for names, push in list(self._watchers.values()):
            push(_only(whole, names))
        self._push_from = began + max(PACE_S, _PAUSE * (time.thread_time() - began_cpu))

    def _note_soon(self) -> None:
        """Record the display states now, or after a moment if they were just recorded."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._all_noted_at + ALL_S:
            self._note_all()
            return
        if self._noting_all is None:
            self._noting_all = loop.call_at(self._all_noted_at + ALL_S, self._note_all)
        if self._noting is None:
            self._noting = loop.call_at(max(now, self._noted_at + PACE_S), self._note_changed)

    def _note_all(self) -> float:
        """Record the display states of all hosts. Return the time."""
        self._all_noted_at = asyncio.get_running_loop().time()
        for timer in (self._noting, self._noting_all):
            if timer is not None:
                timer.cancel()
        self._noting = self._noting_all = None
        hosts = self._shell.state.hosts
        self._noted = {name: host for name, host in self._noted.items() if name in hosts}
        return self._note(hosts.values())

    def _note_changed(self) -> None:
        """Record the display states of the hosts that changed since the last record."""
        self._noting = None
        self._note(h for name, h in self._shell.state.hosts.items() if self._noted.get(name) is not h)

    def _hosts(self, names: Iterable[str]) -> list[Host]:
        hosts = self._shell.state.hosts
        return [hosts[name] for name in names if name in hosts]

    def _note(self, hosts: Iterable[Host]) -> float:
        """Record when the display states of these hosts and of all VPNs began. Return the time.

        Publish an event for each VPN whose state changed.
        """
        state, now = self._shell.state, time.monotonic()
        self._noted_at = asyncio.get_running_loop().time()
        vpns = {f"vpn {name}": vpn_display_state(state, name, now) for name in vpn_names(state)}
        shown = dict[str, str](vpns)
        for host in hosts:
            shown[f"host {host.name}"] = display_state(host, state, now)
            self._noted[host.name] = host
        for key, word in shown.items():
            known = self._shown.get(key)
            if known is not None and known[0] == word:
                continue
            self._shown[key] = (word, now)
            if known is not None and key in vpns:
                name = key.removeprefix("vpn ")
                self._events.publish(
                    Publish(
                        "",
                        "vpn-changed",
                        Evidence(((name, word),)),
                        details={"vpn": name, "state": word},
                    )
                )
        for key in [key for key in self._shown if key not in vpns and not self._is_host(key)]:
            del self._shown[key]
        return now

    def _is_host(self, key: str) -> bool:
        kind, _, name = key.partition(" ")
        return kind == "host" and name in self._shell.state.hosts


def _only(whole: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    if not names:
        return whole
    return {**whole, "hosts": [h for h in whole["hosts"] if h["name"] in names]}
