from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from ipaddress import ip_network

import pytest

from trayagent.agent import event_loop as shell_module
from trayagent.agent.event_loop import Shell
from trayagent.core.decide import Decision, decide
from trayagent.core.decision_context import Why
from trayagent.core.facts.actions import Action, Dial, Observe, SendProbe
from trayagent.core.facts.events import (
    Configured,
    Event,
    HostResolved,
    MasterFound,
    Observed,
    Started,
    TimerExpired,
)
from trayagent.core.facts.hosts import Hop, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Address, Interface, Lookup, Route, Snapshot, Touched
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.state import State

WLAN = Interface(2, "wlan0", "physical", True, (Address("192.168.1.2", 24),))
DEFAULT = Route("0.0.0.0/0", "wlan0", "192.168.1.1", "192.168.1.2")


class Recorder:
    """Records actions without carrying them out."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.settled_count = 0

    def carry_out(self, action: Action) -> None:
        """Record the action."""
        self.actions.append(action)

    def decided(self, whys: tuple[Why, ...]) -> None:
        """Ignore the reasons."""

    def all_decided(self) -> None:
        """Count the call."""
        self.settled_count += 1


class Network:
    """A network that never changes, and counts how often it is read."""

    def __init__(self) -> None:
        self.asked: list[frozenset[Lookup]] = []

    def read(self, lookups: Iterable[Lookup]) -> Snapshot:
        """Answer every lookup with the default route."""
        wanted = frozenset(lookups)
        self.asked.append(wanted)
        assert ip_network(DEFAULT.prefix).prefixlen == 0
        return Snapshot((WLAN,), (DEFAULT,), dict.fromkeys(wanted, DEFAULT))


def drained(*posts: object, touches: int = 1) -> tuple[Recorder, Network]:
    """Post events, let the shell decide on them, and return the recorded actions and reads."""
    network, recorder = Network(), Recorder()

    async def body() -> None:
        shell = Shell()
        for post in posts:
            shell.post(post)  # type: ignore[arg-type]  # events all
        for _ in range(touches):
            shell.touch(Touched())
        shell.start(recorder, network)
        await shell.decided()

    asyncio.run(body())
    return recorder, network


NOW = time.monotonic()
LISTED = Configured(NOW, {"web01": Wish(listed=True, connect="always")})
RESOLVED = HostResolved(NOW, "web01", Resolved("web01", "203.0.113.10"), Hop("203.0.113.10", 22))


def test_a_burst_of_hints_is_one_reading_of_the_network() -> None:
    """The nineteen netlink datagrams of a VPN that comes up cause only one read of the network, after all of them."""
    _, network = drained(touches=19)
    assert len(network.asked) == 1


def test_no_login_starts_before_the_first_scan_is_over() -> None:
    """Before the first scan ends, the agent starts no login, because a host may already have a living master."""
    recorder, _ = drained(LISTED, RESOLVED)
    assert not [a for a in recorder.actions if isinstance(a, Dial)]
    recorder, _ = drained(LISTED, RESOLVED, Started(NOW))
    assert [type(a) for a in recorder.actions if isinstance(a, Dial)] == [Dial]


def test_the_routes_of_a_new_master_are_read_immediately() -> None:
    """The routes that a new master needs are read immediately, because no earlier snapshot has them."""
    master = Master(9, 1, "/cm", local="192.168.1.2", local_port=5, peer="203.0.113.10", peer_port=22)
    recorder, network = drained(LISTED, RESOLVED, MasterFound(NOW, "web01", master), Started(NOW))
    assert Lookup("203.0.113.10", "192.168.1.2") in network.asked[-1]
    assert any(isinstance(a, SendProbe) for a in recorder.actions)
    assert recorder.settled_count == 1


def test_after_a_move_each_master_is_observed_once() -> None:
    """After a move, the reports about all masters lead to one decision.

    Otherwise the number of queries would be quadratic.
    """
    names = [f"web{number:02}" for number in range(20)]

    class Kernel(Recorder):
        def carry_out(self, action: Action) -> None:
            super().carry_out(action)
            if isinstance(action, Observe):
                shell.post(Observed(time.monotonic(), action.name, action.master.pid, acked=0))

    shell, kernel = Shell(), Kernel()

    async def body() -> None:
        shell.start(kernel, Network())
        await shell.decided(Configured(NOW, {name: Wish(listed=True, connect="always") for name in names}))
        for number, name in enumerate(names):
            peer = f"203.0.113.{number}"
            shell.post(HostResolved(NOW, name, Resolved(name, peer), Hop(peer, 22)))
            master = Master(
                number + 10,
                1,
                f"/cm/{name}",
                started_by_agent=True,
                local="10.9.9.9",
                peer=peer,
                peer_port=22,
            )
            shell.post(MasterFound(NOW, name, master))
        shell.touch(Touched())
        await shell.decided(Started(NOW))

    asyncio.run(body())
    assert sorted(a.name for a in kernel.actions if isinstance(a, Observe)) == names


def test_a_wait_for_decisions_covers_what_they_queue() -> None:
    """`decided` also waits for events that actions post, and is not affected if another wait is cancelled."""

    class Answering(Recorder):
        def all_decided(self) -> None:
            super().all_decided()
            if self.settled_count == 1:
                shell.post(Configured(NOW, {"web02": Wish(listed=True)}))

    shell = Shell()

    async def body() -> None:
        shell.start(Answering(), Network())
        cancelled = asyncio.create_task(shell.decided(LISTED))
        await asyncio.sleep(0)
        cancelled.cancel()
        await shell.decided(RESOLVED)

    asyncio.run(body())
    assert set(shell.state.hosts) == {"web02"}  # the host of the second configuration


def test_a_client_waits_for_the_events_before_its_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """While each action posts a further event, so that the queue is never empty, `caught_up` returns all the same.

    By then the client's own event is decided, and its action is begun.
    """

    def acting(state: State, event: TimerExpired) -> Decision:
        return Decision(state, (Dial(event.name, 1, "user", background=False),), ())

    monkeypatch.setattr(shell_module, "decide", acting)
    shell = Shell()

    class Endless(Recorder):
        def carry_out(self, action: Action) -> None:
            super().carry_out(action)
            if not over:
                shell.post(TimerExpired(NOW, "endless"))

    effects, over = Endless(), list[bool]()

    async def body() -> None:
        shell.start(effects, Network())
        shell.post(TimerExpired(NOW, "endless"))
        await asyncio.sleep(0.05)
        shell.post(TimerExpired(NOW, "mine"))
        async with asyncio.timeout(60):
            await shell.caught_up()
            assert "mine" in {action.name for action in effects.actions}
            over.append(True)
            await shell.decided()
            await shell.caught_up()  # nothing waits

    asyncio.run(body())


def test_a_wait_for_decisions_ends_when_one_raises() -> None:
    """If a decision raises, waiting ends, so that no client waits forever."""

    class Failing(Recorder):
        def carry_out(self, action: Action) -> None:
            raise RuntimeError(action.name)

    async def body() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        shell = Shell()
        shell.start(Failing(), Network())
        async with asyncio.timeout(60):
            await asyncio.gather(shell.decided(LISTED), shell.caught_up())

    asyncio.run(body())


def test_answers_that_come_together_are_one_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of `ssh -G` for many hosts lead to one decision, after which every host has its answer."""
    names = [f"web{number:02}" for number in range(20)]
    decisions: list[int] = []

    def counted(state: State, event: Event, *later: Event) -> Decision:
        decisions.append(1 + len(later))
        return decide(state, event, *later)

    monkeypatch.setattr(shell_module, "decide", counted)
    shell = Shell()

    async def body() -> None:
        shell.start(Recorder(), Network())
        await shell.decided(Configured(NOW, {name: Wish(listed=True, connect="always") for name in names}))
        decisions.clear()
        for number, name in enumerate(names):
            peer = f"203.0.113.{number}"
            shell.post(HostResolved(NOW, name, Resolved(name, peer), Hop(peer, 22)))
        await shell.decided()

    asyncio.run(body())
    assert decisions == [20, 1]  # afterwards the routes to all servers are read
    assert {host.resolved.hostname for host in shell.state.hosts.values() if host.resolved is not None} == {
        f"203.0.113.{number}" for number in range(20)
    }


def test_commands_and_signals_come_between_the_events_of_many_hosts() -> None:
    """While events with slow actions are queued, other callbacks run in between. The events stay in order."""
    names = [f"web{number:02}" for number in range(40)]
    done: list[str] = []
    ticks: list[int] = []

    class Slow(Recorder):
        def carry_out(self, action: Action) -> None:
            super().carry_out(action)
            if isinstance(action, SendProbe):
                time.sleep(0.01)
                done.append(action.name)

    shell, slow = Shell(), Slow()

    def tick() -> None:
        ticks.append(len(done))
        if len(done) < len(names):
            asyncio.get_running_loop().call_soon(tick)

    async def body() -> None:
        shell.start(slow, Network())
        await shell.decided(Configured(NOW, {name: Wish(listed=True, connect="always") for name in names}))
        for number, name in enumerate(names):
            peer = f"203.0.113.{number}"
            shell.post(HostResolved(NOW, name, Resolved(name, peer), Hop(peer, 22)))
            master = Master(
                number + 10, 1, f"/cm/{name}", local="192.168.1.2", local_port=5, peer=peer, peer_port=22
            )
            shell.post(MasterFound(NOW, name, master))
        asyncio.get_running_loop().call_soon(tick)
        await shell.decided(Started(NOW))
        assert done == names

    asyncio.run(body())
    assert len({count for count in ticks if 0 < count < len(names)}) > 5
    assert (
        slow.settled_count == 2
    )  # a follower of the state never sees a state without the events that it posted


def test_an_action_that_fails_holds_up_no_other() -> None:
    """If an action raises, the other actions and later events are still handled."""

    class Failing(Recorder):
        failed = False

        def carry_out(self, action: Action) -> None:
            super().carry_out(action)
            if not self.failed:
                self.failed = True
                raise RuntimeError(action)

    shell, failing = Shell(), Failing()

    async def body() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        shell.start(failing, Network())
        await shell.decided(LISTED, RESOLVED, Started(NOW))

    asyncio.run(body())
    assert failing.failed
    assert any(isinstance(action, Dial) for action in failing.actions)
