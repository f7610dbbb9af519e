"""The view for clients: computed for each request, and for watchers at most ten times a second."""

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
from trayagent.core.view import AgentFacts, view, vpn_names
from trayagent.core.vpn_state import vpn_display_state

PACE_S = 0.1  # push the first change immediately, and combine changes that are too fast to read


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
        self._pushed_at = float("-inf")
        self._changed = asyncio.Event()
        self._noted_at = float("-inf")
        self._noting: asyncio.TimerHandle | None = None

    def current(self, names: Iterable[str] = ()) -> dict[str, Any]:
        """Return the view. If `names` has hosts, include only these."""
        now = self._note()
        return self._whole(now, frozenset(names))

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
            self._due = loop.call_at(max(loop.time(), self._pushed_at + PACE_S), self._push)

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
        self._pushed_at = asyncio.get_running_loop().time()
        whole = self._whole(self._note())
        for names, push in list(self._watchers.values()):
            push(_only(whole, names))

    def _note_soon(self) -> None:
        """Record the display states now, or after a moment if they were just recorded.

        While many hosts recover, the core decides a hundred times a second, and each record reads every host.
        """
        if self._noting is None:
            loop = asyncio.get_running_loop()
            due = self._noted_at + PACE_S
            if loop.time() >= due:
                self._note()
            else:
                self._noting = loop.call_at(due, self._note)

    def _note(self) -> float:
        """Record when each display state began. Publish an event for each VPN whose state changed. Return the time."""
        state, now = self._shell.state, time.monotonic()
        self._noted_at = asyncio.get_running_loop().time()
        if self._noting is not None:
            self._noting.cancel()
            self._noting = None
        shown = {f"host {h.name}": display_state(h, state, now) for h in state.hosts.values()}
        vpns = {f"vpn {n}": vpn_display_state(state, n, now) for n in vpn_names(state)}
        for key, word in {**shown, **vpns}.items():
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
        for key in self._shown.keys() - shown.keys() - vpns.keys():
            del self._shown[key]
        return now


def _only(whole: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    if not names:
        return whole
    return {**whole, "hosts": [h for h in whole["hosts"] if h["name"] in names]}
