"""The event loop of the agent: queues events, passes them to the core in order, and carries out the actions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from trayagent.core.decide import TOGETHER, decide
from trayagent.core.decision_context import Why
from trayagent.core.facts.actions import Action
from trayagent.core.facts.events import Event, NetworkRead
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Lookup, Snapshot, Touched
from trayagent.core.facts.state import State
from trayagent.core.usable_routes import lookups

log = logging.getLogger(__name__)

_SLICE_S = (
    0.005  # with many hosts, the events of a move take seconds; a command must not wait for all of them
)


class Effects(Protocol):
    """Carries out actions, and receives the reasons of every decision."""

    def carry_out(self, action: Action) -> None:
        """Carry out an action, or start a task that carries it out. The result is posted as an event."""

    def decided(self, whys: tuple[Why, ...]) -> None:
        """Receive the reasons of one decision."""

    def all_decided(self) -> None:
        """React to the new state. The loop calls this when no event and no action is left."""


class Network(Protocol):
    """Reads the network."""

    def read(self, lookups: Iterable[Lookup]) -> Snapshot:
        """Return the present state of the network, with the answers to `lookups`."""


class Shell:
    """Owns the state. Until `start`, events wait in the queue."""

    def __init__(self) -> None:
        self.state = State()
        self._effects: Effects | None = None
        self._network: Network | None = None
        self._queue: deque[Event] = deque()
        self._actions: deque[Action] = deque()
        self._touched: Touched | None = None
        self._looked_up: tuple[Snapshot, Mapping[str, Host]] = (self.state.snapshot, {})
        self._scheduled = False
        self._waiting: list[asyncio.Future[None]] = []
        self._posted = self._taken = 0  # how many events were queued so far, and how many of them were taken
        self._barriers: deque[tuple[int, asyncio.Future[None]]] = deque()

    def start(self, effects: Effects, network: Network) -> None:
        """Start deciding on events. `network` reads the network's state, `effects` carry out the actions."""
        self._effects = effects
        self._network = network
        if self._queue or self._touched is not None:
            self._schedule()

    def post(self, event: Event) -> None:
        """Queue an event. The core gets it soon, after the earlier events and their actions."""
        self._queue.append(event)
        self._posted += 1
        self._schedule()

    async def decided(self, *events: Event) -> None:
        """Queue these events, if any. Return when no event and no action is left in the queue."""
        for event in events:
            self.post(event)
        while self._scheduled:
            drained = asyncio.get_running_loop().create_future()
            self._waiting.append(drained)
            await drained

    async def caught_up(self) -> None:
        """Return when all events that are queued now are decided and their actions are begun.

        While many hosts recover, the queue is seldom empty, so `decided` would wait much longer.
        """
        if self._scheduled:
            reached = asyncio.get_running_loop().create_future()
            self._barriers.append((self._posted, reached))
            await reached

    def touch(self, touched: Touched) -> None:
        """Note a hint that the network changed. The loop reads the network once for all pending hints."""
        self._touched = touched if self._touched is None else self._touched | touched
        self._schedule()

    def is_healthy(self, name: str, master: Master) -> bool:
        """Report whether a master is the host's present one and not in doubt. If so, the server causes failures."""
        host = self.state.hosts.get(name)
        return host is not None and host.master == master and not host.suspect

    def _schedule(self) -> None:
        if not self._scheduled and self._effects is not None:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        """Decide and act for a short time. If events are left, handle commands and signals first, then continue."""
        effects, network = self._effects, self._network
        if effects is None or network is None:
            return
        until = time.monotonic() + _SLICE_S
        try:
            while self._pending and time.monotonic() < until:
                if self._actions:
                    effects.carry_out(self._actions.popleft())
                else:
                    event = self._next(network)
                    self._decide(effects, event, *self._alike(event))
                    self._read_what_is_missing()
                if not self._actions and self._touched is None:
                    self._pass_barriers(self._taken)
        finally:
            if self._pending:
                asyncio.get_running_loop().call_soon(self._drain)
            else:
                self._wake_waiting()
        if not self._pending:  # with events still queued, the effects would act on an outdated state
            effects.all_decided()

    @property
    def _pending(self) -> bool:
        return bool(self._actions or self._queue or self._touched is not None)

    def _wake_waiting(self) -> None:
        self._scheduled = False
        self._pass_barriers(self._posted)
        waiting, self._waiting = self._waiting, []
        for drained in waiting:
            if not drained.done():  # the waiting task may have been cancelled
                drained.set_result(None)

    def _pass_barriers(self, taken: int) -> None:
        while self._barriers and self._barriers[0][0] <= taken:
            _, reached = self._barriers.popleft()
            if not reached.done():
                reached.set_result(None)

    def _next(self, network: Network) -> Event:
        if self._touched is not None:
            touched, self._touched = self._touched, None
            return NetworkRead(
                time.monotonic(),
                network.read(lookups(self.state.hosts.values(), self.state.snapshot)),
                touched,
            )
        self._taken += 1
        return self._queue.popleft()

    def _alike(self, first: Event) -> Iterator[Event]:
        """Take further events of the same kind from the queue, if the core can decide on all of them at once."""
        while self._queue and isinstance(first, TOGETHER) and type(self._queue[0]) is type(first):
            self._taken += 1
            yield self._queue.popleft()

    def _decide(self, effects: Effects, event: Event, *later: Event) -> None:
        decision = decide(self.state, event, *later)
        self.state = decision.state
        if decision.whys:
            effects.decided(decision.whys)
        self._actions.extend(decision.actions)

    def _read_what_is_missing(self) -> None:
        """Have the network read again if a new master or address needs a route that the last snapshot lacks."""
        hosts, snapshot = self.state.hosts, self.state.snapshot
        old = self._looked_up[1] if self._looked_up[0] is snapshot else {}
        changed = [host for name, host in hosts.items() if old.get(name) is not host]
        self._looked_up = snapshot, hosts
        if not lookups(changed, snapshot) <= snapshot.matched.keys():
            self._touched = self._touched or Touched()
