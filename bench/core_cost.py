"""Measures the CPU time of the pure core for a start and a move with many hosts, with a virtual clock.

The answers to the actions are made up and arrive after typical times. Nothing is started, so the result does not
depend on the machine's other work, apart from its speed.

Usage: python -m bench.core_cost [HOSTS…]

It prints a line for each number of hosts, with CPU milliseconds per host.
"""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Callable
from itertools import count

from msgspec.structs import replace

from trayagent.core.decide import decide
from trayagent.core.facts import actions as a
from trayagent.core.facts import events as e
from trayagent.core.facts.hosts import ForwardState, Hop, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Address, Interface, Lookup, Route, Snapshot
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.state import State
from trayagent.core.policy.wanted_connection import wanted_forwards
from trayagent.core.usable_routes import lookups

SERVERS = 5
KEY = "ssh-ed25519 SHA256:"
_ESTABLISHED_S, _READY_S, _TOOK_OVER_S, _ENDED_S = 0.05, 0.6, 0.01, 0.005


class Imagined:
    """Answers the core's actions as servers and the kernel would, and counts events and CPU time."""

    def __init__(self, hosts: int) -> None:
        self.state = State()
        self.now = 0.0
        self.events = 0
        self.cpu_s = 0.0
        self.longest_s = 0.0
        self._due: list[tuple[float, int, Callable[[], e.Event | None]]] = []
        self._number = count(1)
        self._timers: dict[str, float | None] = {}
        self._local = "192.168.10.2"
        self.names = [f"web{number:03}" for number in range(hosts)]
        self._server = {name: number % SERVERS for number, name in enumerate(self.names)}

    def start(self) -> None:
        """Start with all hosts in the configuration, and connect them."""
        self.decide(e.NetworkRead(self.now, self._snapshot()))
        self.decide(e.Configured(self.now, {n: Wish(listed=True, connect="always") for n in self.names}))
        resolved = [
            e.HostResolved(
                self.now,
                n,
                Resolved(self._address(n), self._address(n), user="me", identity_files=("id",)),
                Hop(self._address(n), 22, "me", ("id",)),
                known_keys=frozenset({self._key(n)}),
            )
            for n in self.names
        ]
        self.decide(*resolved)
        self.decide(e.Started(self.now))
        self.run()

    def move(self) -> None:
        """Go to another network, and connect all hosts again."""
        self._local = "10.20.0.7" if self._local.startswith("192") else "192.168.10.2"
        self.decide(e.NetworkRead(self.now, self._snapshot()))
        self.run()

    def run(self) -> None:
        """Let time pass until nothing is due within a minute."""
        while self._due and self._due[0][0] < self.now + 60:
            at, _, event = heapq.heappop(self._due)
            self.now = max(self.now, at)
            found = event()
            if found is not None:
                self.decide(replace(found, at=self.now))

    def decide(self, *events: e.Event) -> None:
        """Decide on these events, and carry out the actions."""
        began = time.process_time()
        decision = decide(self.state, *events)
        self.state = decision.state
        took = time.process_time() - began
        self.cpu_s += took
        self.longest_s = max(self.longest_s, took)
        self.events += len(events)
        observed = [self._observed(one) for one in decision.actions if isinstance(one, a.Observe)]
        for action in decision.actions:
            self._carry_out(action)
        if observed:
            self.decide(*observed)
        if not lookups(self.state.hosts.values()) <= self.state.snapshot.matched.keys():
            self.decide(e.NetworkRead(self.now, self._snapshot()))

    def _observed(self, action: a.Observe) -> e.Event:
        return e.Observed(self.now, action.name, action.master.pid, 0, probed_at=action.probed_at)

    def _later(self, after_s: float, event: Callable[[], e.Event | None]) -> None:
        heapq.heappush(self._due, (self.now + after_s, next(self._number), event))

    def _carry_out(self, action: a.Action) -> None:
        name = action.name
        match action:
            case a.SetTimer():
                self._set_timer(name, action.at)
            case a.Dial():
                number, address = action.attempt, self._address(name)
                self._later(
                    _ESTABLISHED_S, lambda: e.AttemptEstablished(0, name, number, self._local, address)
                )
                master = Master(
                    100 + number,
                    1,
                    f"/cm/{name}.new",
                    started_by_agent=True,
                    local=self._local,
                    local_port=1000 + number,
                    peer=address,
                    peer_port=22,
                    host_key=self._key(name),
                    min_rtt_s=0.05,
                )
                self._later(
                    _READY_S, lambda: e.AttemptReady(0, name, number, master, host_key=self._key(name))
                )
            case a.TakeOver():
                new, attempt = replace(action.master, control_path=f"/cm/{name}"), action.attempt
                self._later(_TOOK_OVER_S, lambda: e.TookOver(0, name, attempt, new))
            case a.EnsureForwards():
                pid = action.master.pid
                open_ = tuple(ForwardState(f, "open") for f in wanted_forwards(self.state.hosts[name]))
                self._later(_ESTABLISHED_S, lambda: e.ForwardsChanged(0, name, pid, open_))
            case _:
                pass

    def _set_timer(self, name: str, at: float | None) -> None:
        if self._timers.get(name) == at:
            return
        self._timers[name] = at
        if at is not None and at < float("inf"):
            self._later(max(at - self.now, 0.0), lambda: self._time_came(name, at))

    def _time_came(self, name: str, at: float) -> e.Event | None:
        if self._timers.get(name) != at:
            return None
        self._timers.pop(name)
        return e.TimerExpired(0, name)

    def _address(self, name: str) -> str:
        return f"203.0.113.{10 + self._server[name]}"

    def _key(self, name: str) -> str:
        return f"{KEY}{self._server[name]}"

    def _snapshot(self) -> Snapshot:
        home = self._local.startswith("192")
        gateway = "192.168.10.1" if home else "10.20.0.1"
        face = Interface(2, "wlan0", "physical", True, (Address(self._local, 24),))
        default = Route("0.0.0.0/0", "wlan0", gateway, self._local)
        matched: dict[Lookup, Route | None] = {
            one: default if one.local in {None, self._local} else None
            for one in lookups(self.state.hosts.values())
        }
        macs = {("wlan0", gateway): "aa:01" if home else "cc:01"}
        return Snapshot((face,), (default,), matched, macs)


def main() -> None:
    """Measure, and print the results."""
    for hosts in map(int, sys.argv[1:] or ("10", "30", "100")):
        world = Imagined(hosts)
        for what, do in (("start", world.start), ("move", world.move)):
            world.cpu_s, world.events, world.longest_s = 0.0, 0, 0.0
            do()
            up = sum(
                h.master is not None and not h.suspect and h.attempt is None
                for h in world.state.hosts.values()
            )
            line = f"{hosts:4} hosts, {what:5}: {world.cpu_s / hosts * 1e3:6.2f} ms of CPU per host"
            line += (
                f", longest decision {world.longest_s * 1e3:.0f} ms, {world.events} events, {up} connected"
            )
            print(line)  # noqa: T201  # the result


if __name__ == "__main__":
    main()
