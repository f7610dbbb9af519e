"""The inner masters of the simulation. Each waits for an outer master. Only the user or the server ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tests.sim.cast import CAST, sharing
from tests.sim.ports import PORT, Ports
from trayagent.core.facts import actions as a
from trayagent.core.facts import events as e
from trayagent.core.facts import roaming_events as r
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.masters import Master
from trayagent.core.facts.problems import Problem

if TYPE_CHECKING:
    from tests.sim.living import Living
    from tests.sim.tcp import Connection
    from tests.sim.world import World

BEGIN_S, ATTACH_S, SILENT_S = 0.4, 0.12, 60.0
_FIRST_PID = 10_000


@dataclass
class Inner:
    """One inner master, with its server, that server's boot number, and the outer master that carries the link.

    `first` is the outer master with which it drains, after the user's own ssh took its control path. `sessions` are
    the sessions that it then has. `port` is the TCP connection to its far relay's port, and `by_port` tells whether the
    agent knows that it carries the link. `tries` counts the attaches by port.
    """

    master: Master
    host: str
    machine: str
    boot: int
    carrier: Living | None = None
    first: Living | None = None
    sessions: int = 0
    port: Connection | None = None
    by_port: bool = False
    tries: int = 0
    address: str | None = None
    listens: int | None = None


class Inners:
    """Starts, attaches and ends inner masters as the relays do."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ports = Ports(world)
        self.living: dict[str, Inner] = {}
        self._pid = _FIRST_PID

    def carry_out(self, action: a.Action) -> None:
        """Carry out one of the actions of roaming."""
        world, agent = self._world, self._world.agent
        if isinstance(action, a.BeginRoaming):
            world.clock.after(BEGIN_S, lambda: self._begin(action) if agent == world.agent else None)
        elif isinstance(action, a.AttachRoaming):
            begun_at = world.clock.now
            world.clock.after(ATTACH_S, lambda: self._attach(action, agent, begun_at))
        elif isinstance(action, a.AttachByPort):
            self.ports.attach(action)
        elif isinstance(action, a.RestorePath):
            self._restore(action)
        elif isinstance(action, a.EndRoaming):
            world.clock.after(0.01, lambda: self.end(action.name, by_request=False))

    def owner(self, name: str) -> str | None:
        """Return the name whose inner master is on the control path of this name, None if no inner master is there."""
        return next((one for one in sharing(name) if one in self.living), None)

    def of_another(self, name: str) -> Inner | None:
        """Return the inner master of another name that is on the control path of this name."""
        owner = self.owner(name)
        return self.living[owner] if owner not in {None, name} else None

    def outer_path(self, name: str) -> str:
        """Return the path on which the next outer master of a host listens."""
        host = self._world.state.hosts.get(name)
        return (host.hidden_path if host is not None else None) or CAST[name].path

    def lost(self, outer: Living) -> None:
        """Record that an outer master ended, and with it the link that it carried."""
        for inner in [*self.living.values()]:
            if inner.carrier is outer:
                inner.carrier = None
                self._world.post(r.RoamingAway(0, inner.host, "closed"))

    def drain(self, name: str) -> bool:
        """Let the inner master of a host drain, because the user's own ssh takes its control path.

        Return whether the agent knows the inner master, so that this happens.
        """
        world, inner = self._world, self.living.get(name)
        host = world.state.hosts.get(name)
        if inner is None or host is None or host.roaming is None or host.roaming.ending:
            return False
        if host.roaming.inner.pid != inner.master.pid:
            return False
        world.forwarding.close(inner.master.pid, inner.carrier.connection if inner.carrier else None)
        inner.host = f"{name} draining {inner.master.pid}"
        inner.first = world.living.get(host.master.pid) if host.master is not None else None
        if inner.first is not None:
            inner.sessions, inner.first.sessions = inner.first.sessions, 0
            self._move(inner.first, f"/cm/{name}.outer.{inner.master.pid}")
        self.living[inner.host] = self.living.pop(name)
        return True

    def drains_with(self, outer: Living) -> bool:
        """Report whether an inner master that drains has this outer master."""
        self._follow_outers()
        return any(inner.first is outer for inner in self.living.values())

    def has_earlier(self, name: str) -> bool:
        """Report whether an inner master of this host drains."""
        return any(inner.host.startswith(f"{name} draining ") for inner in self.living.values())

    def end_sessions(self, name: str) -> None:
        """Let all sessions through the draining inner masters of a host end."""
        for inner in self.living.values():
            if inner.host.startswith(f"{name} draining "):
                inner.sessions = 0

    def end(self, name: str, *, by_request: bool) -> None:
        """End the inner master of a host, if there is one."""
        inner = self._gone(name)
        if inner is not None:
            failure = None if by_request else Failure(Problem("unknown", "it died"), "died")
            pid = inner.master.pid
            for known in self._world.known_as(pid) or (name,):
                self._world.post(e.MasterEnded(0, known, pid, failure, by_request))
            self._follow_outers()

    def _follow_outers(self) -> None:
        """Note which earlier inner masters got the outer master of another inner one, since that one ended."""
        for inner in self.living.values():
            host = self._world.state.hosts.get(inner.host)
            master = host.master if host is not None and host.draining is not None else None
            outer = self._world.living.get(master.pid) if master is not None else None
            if outer is not None and outer is not inner.first:
                inner.first = outer
                self._move(outer, f"/cm/{inner.host}.outer")

    def _gone(self, name: str) -> Inner | None:
        """Remove the inner master of a host, and return it."""
        inner = self.living.pop(name, None)
        if inner is not None:
            over = inner.carrier.connection if inner.carrier is not None else None
            self._world.forwarding.close(inner.master.pid, over)
        return inner

    def lose_relay(self) -> None:
        """End the near relay, and with it all inner masters. `MasterWatch` may have lost sight of some of them."""
        for inner in [*self.living.values()]:
            if inner.master.pid % 2:
                self.end(inner.host, by_request=False)
            else:
                self._gone(inner.host)
                pid = inner.master.pid
                self._world.post(r.RoamingEnded(0, inner.host, pid, "near-relay-lost"))
                for name in self._world.known_as(pid):
                    failure = Failure(Problem("unknown", "it died"), "died")
                    self._world.post(e.MasterEnded(0, name, pid, failure))

    def stall(self, name: str) -> None:
        """Report that data of a session got no acknowledgement, as the near relay does."""
        inner = self.living.get(name)
        if inner is not None and (inner.carrier is not None or inner.port is not None):
            self._world.post(r.RoamingStalled(0, name))
            if inner.by_port:
                inner.by_port = False
                self._world.post(r.RoamingAway(0, name, "stalled"))

    def found(self) -> None:
        """Report the living inner masters to the next agent."""
        for inner in self.living.values():
            owner, drains, _ = inner.host.partition(" draining ")
            shared = inner.carrier if inner.carrier is not None and self.drains_with(inner.carrier) else None
            first = inner.first if inner.first is not None and self._lives(inner.first) else shared
            self._world.post(
                r.RoamingFound(
                    0, owner, inner.master, f"/cm/{owner}.outer",
                    lost_path=bool(drains), outer=first.master if first is not None else None,
                    address=inner.address, port=inner.listens, by_port=inner.port is not None and not drains,
                )
            )  # fmt: skip

    def _lives(self, outer: Living) -> bool:
        return outer.master.pid in self._world.living

    def _begin(self, action: a.BeginRoaming) -> None:
        world, name = self._world, action.name
        outer = world.living.get(action.master.pid)
        host = world.state.hosts.get(name)
        placed = host is not None and host.master is not None and host.master.pid == action.master.pid
        if outer is None or not placed or not outer.connection.carries or outer.stopped:
            agent = world.agent
            refusal = r.RoamingNotPossible(0, name, action.master.pid, "failed", "it failed")
            world.clock.after(10.0, lambda: world.post(refusal) if agent == world.agent else None)
            return
        self._pid += 1
        master = Master(self._pid, 7, CAST[name].path, started_by_agent=True, direct=False)
        machine = outer.connection.machine
        listens = PORT if host is not None and host.wish.roam_port is not None else None
        address = outer.connection.flow.peer
        self.living[name] = Inner(
            master, name, machine.name, machine.boot, outer, address=address, listens=listens
        )
        outer.host = name
        self._move(outer, f"/cm/{name}.outer")
        world.forwarding.close(outer.master.pid, outer.connection)
        world.post(r.RoamingBegan(0, name, master, outer.master, listens))

    def _attach(self, action: a.AttachRoaming, agent: int, begun_at: float) -> None:
        world, name, pid = self._world, action.name, action.master.pid
        inner, outer = self.living.get(name), world.living.get(pid)
        if inner is None:
            return
        machine = outer.connection.machine if outer is not None else None
        if inner.by_port:
            self._post(agent, r.RoamingAttached(0, name, pid, 1, by_port=True))
        elif outer is None or machine is None:
            self._post(agent, r.RoamingAttachFailed(0, name, pid, "closed"))
        elif not outer.connection.carries or outer.stopped:
            silent = r.RoamingAttachFailed(0, name, pid, "silent")
            world.clock.after(SILENT_S, lambda: self._post(agent, silent))
        elif machine.name != inner.machine:
            self._post(agent, r.RoamingAttachFailed(0, name, pid, "other-machine"))
        elif machine.boot != inner.boot:
            self.end(name, by_request=False)
        else:
            inner.carrier, inner.port = outer, None
            inner.tries += 1  # an attach by port that is not answered yet is dropped
            outer.asked_at = begun_at
            world.rules.spare_answered(outer)
            self._post(agent, r.RoamingAttached(0, name, pid, 1))

    def _restore(self, action: a.RestorePath) -> None:
        outer = self._world.living.get(action.master.pid)
        if outer is not None:
            self._move(outer, CAST[action.name].path)
            self._world.post(r.MasterMoved(0, action.name, outer.master.pid, outer.master.control_path))

    def _move(self, outer: Living, path: str) -> None:
        outer.master = replace(outer.master, control_path=path)

    def _post(self, agent: int, event: e.Event) -> None:
        if agent == self._world.agent:
            self._world.post(event)
