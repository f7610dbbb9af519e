"""The forwards of the simulation: those that the agent requests, and those that the user gives to ssh by hand."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tests.sim.tcp import Connection
from trayagent.core.facts import actions as a
from trayagent.core.facts import events as e
from trayagent.core.facts.forwards import End, Forward
from trayagent.core.facts.hosts import ForwardState, Host
from trayagent.core.facts.remote_sessions import Reaped
from trayagent.core.policy.shared_connection import owner_of_connection, users_of_connection
from trayagent.core.policy.wanted_connection import wanted_forwards

if TYPE_CHECKING:
    from tests.sim.world import World

ASK_AGAIN_S = 1.0
UNANSWERED_S = 10.0  # the agent waits so long for the server's answer about a remote forward
FREED_S = 90.0  # after this time, the server notices that a lost connection is dead
BY_HAND = Forward("local", End("", 9000), End("localhost", 90), "9000:localhost:90")
_UNKNOWN = "127.0.0.1:7777"


class Forwarding:
    """Opens and closes forwards as ssh does. `taken` are local ports that another program has.

    `open` are the open forwards of each master. `given` are the hosts whose forward by hand must still be there.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.open: dict[int, set[Forward]] = defaultdict(set)
        self.taken: set[int] = set()
        self.given: set[str] = set()
        # the server's remote ports: the pid of the master that has the port, and until when, once that master is lost
        self._remote: dict[tuple[str, int], tuple[int, float | None]] = {}

    def ensure(self, action: a.EnsureForwards) -> None:
        """Carry out the agent's request for a master's forwards."""
        agent, pid = self._world.agent, action.master.pid
        begun_at = self._world.clock.now
        self._world.clock.after(self._world.net.rtt_s, lambda: self._round(action.name, pid, agent, begun_at))

    def close(self, pid: int, over: Connection | None) -> None:
        """Close all forwards of a master, because it ends or another one gets them. `over` is its connection.

        The server notices that only if the connection carries.
        """
        self.open.pop(pid, None)
        until = self._world.clock.now + (0.0 if over is not None and over.carries else FREED_S)
        self._remote |= {port: (holder, until) for port, (holder, _) in self._remote.items() if holder == pid}

    def found(self, name: str, pid: int) -> None:
        """Report all forwards of a master that the agent found."""
        if self.open[pid]:
            opened = tuple(ForwardState(forward, "open") for forward in self.open[pid])
            self._world.post(e.HandForwardsFound(0, name, pid, opened))

    def give(self, name: str) -> None:
        """Let the user request a forward with `ssh -O forward`. The owner of a shared connection has it then."""
        name = self._owner(name)
        pid = self._pid(name)
        if pid is not None and BY_HAND not in self.open[pid] and BY_HAND.listen.port not in self.taken:
            self.open[pid].add(BY_HAND)
            opened = (ForwardState(BY_HAND, "open", listen="127.0.0.1:9000"),)
            self._world.post(e.HandForwardsFound(0, name, pid, opened, unknown=(_UNKNOWN,)))
            known = BY_HAND in self._world.state.hosts[name].forwards.by_hand
            if known and not self._world.rules.stopping:  # the agent ignores a master that it ends
                self.given.add(name)

    def cancel(self, name: str) -> None:
        """Let the user cancel that forward with `ssh -O cancel`."""
        name = self._owner(name)
        pid = self._pid(name)
        if pid is not None and BY_HAND in self.open[pid]:
            self.open[pid].remove(BY_HAND)
            self.given.discard(name)
            self._world.post(e.HandForwardsFound(0, name, pid, closed=(BY_HAND,), unknown=()))

    def _owner(self, name: str) -> str:
        hosts = self._world.state.hosts
        owner = owner_of_connection(hosts[name], hosts) if name in hosts else None
        return owner.name if owner is not None else name

    def at_rest(self, name: str, host: Host) -> None:
        """Check that all wanted forwards of a connected host are open, and that none was forgotten."""
        says, master, role = self._world.rules.says, host.forwarding_master, self._world.roles[name]
        if master is None or not (host.wish.listed or master.started_by_agent):
            return
        wanted = set(wanted_forwards(host))
        if name in self.given and role.wish is not None and role.wish.connect == "always":
            assert BY_HAND in wanted, says(name, "a forward that was given by hand is forgotten")
        closed = wanted - self.open[master.pid]
        assert not closed, says(name, f"forwards are closed: {closed} {host.forwards}")
        shown = {state.forward for state in host.forwards.states if state.state == "open"}
        assert wanted <= shown, says(name, f"forwards are shown as {host.forwards.states}")

    def _round(self, name: str, pid: int, agent: int, begun_at: float) -> None:
        world, host = self._world, self._world.state.hosts.get(name)
        master = host.forwarding_master if host is not None else None
        if agent != world.agent or host is None or master is None or not self._lives(pid, master.pid):
            return
        wanted, connection = wanted_forwards(host), self._connection(pid)
        answers = connection if connection is not None and connection.carries else None
        states = tuple(self._requested(name, pid, forward, answers) for forward in wanted)
        users = users_of_connection(pid, world.state.hosts)
        others = {one for user in users if user.name != name for one in wanted_forwards(user)}
        self.open[pid] = {state.forward for state in states if state.state == "open"} | (
            self.open[pid] & others
        )
        final = all(state.state != "opening" for state in states)
        if not final and world.clock.now - begun_at >= UNANSWERED_S:
            late = "the server did not answer"
            states = tuple(
                ForwardState(one.forward, "failed", error=late) if one.state == "opening" else one
                for one in states
            )
            final = True
        world.post(e.ForwardsChanged(0, name, pid, states, final=final))
        if not final:
            world.clock.after(ASK_AGAIN_S, lambda: self._round(name, pid, agent, begun_at))

    def _requested(
        self, name: str, pid: int, forward: Forward, connection: Connection | None
    ) -> ForwardState:
        """Request a forward over this connection, None if the server does not answer.

        A master answers at once if the forward is open already.
        """
        if forward.kind == "remote" and connection is None:
            return ForwardState(forward, "open" if forward in self.open[pid] else "opening")
        return self._opened(name, pid, forward, connection)

    def _opened(self, name: str, pid: int, forward: Forward, connection: Connection | None) -> ForwardState:
        if forward.kind == "remote" and connection is not None:
            return self._remotely(name, pid, forward, connection)
        if forward not in self.open[pid] and forward.listen.port in self.taken:
            if forward == BY_HAND:
                self.given.discard(name)
            return ForwardState(forward, "failed", error="address in use", taken=True)
        return ForwardState(forward, "open")

    def _remotely(self, name: str, pid: int, forward: Forward, connection: Connection) -> ForwardState:
        """Open a remote forward. A lost connection may still hold its port. If the agent has a shell, it ends that."""
        world, port = self._world, (connection.machine.name, forward.listen.port)
        holder, until = self._remote.get(port, (pid, None))
        if holder != pid and (until is None or until > world.clock.now):
            shell = holder % 2 == 0
            world.post(
                e.RemoteCleanedUp(0, name, Reaped(ended=1) if shell else Reaped(unavailable="no-shell"))
            )
            if not shell:
                return ForwardState(forward, "failed", error="the server refused it", refused=True)
        self._remote[port] = (pid, None)
        return ForwardState(forward, "open")

    def _pid(self, name: str) -> int | None:
        """Return the master on the host's control path that the agent knows, None if there is none."""
        host = self._world.state.hosts.get(name)
        master = host.forwarding_master if host is not None else None
        return master.pid if master is not None and self._lives(master.pid, master.pid) else None

    def _lives(self, pid: int, known: int) -> bool:
        """Report whether a master lives, and is the one that the agent knows."""
        inner = any(one.master.pid == pid for one in self._world.inners.living.values())
        return pid == known and (inner or pid in self._world.living)

    def _connection(self, pid: int) -> Connection | None:
        """Return the connection that carries a master, None if the master ended or waits for an outer one."""
        living = self._world.living.get(pid)
        if living is None:
            inner = next((x for x in self._world.inners.living.values() if x.master.pid == pid), None)
            living = inner.carrier if inner is not None else None
        return living.connection if living is not None else None
