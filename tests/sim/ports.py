"""The direct ports of the simulation: links of inner masters that need no outer master, and no login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.tcp import Connection
from trayagent.core.facts import actions as a
from trayagent.core.facts import events as e
from trayagent.core.facts import roaming_events as r

if TYPE_CHECKING:
    from tests.sim.inners import Inner
    from tests.sim.world import World

PORT = 60001
BLOCKED = frozenset({"office"})
"""The networks that block the port."""
GIVES_UP_S = 6.0
_KEEP_ALIVE_S = 120.0
_AFTER_LOGIN_S = 0.3


class Ports:
    """Attaches inner masters to the ports of their far relays, as the agent and the kernel do."""

    def __init__(self, world: World) -> None:
        self._world = world

    def login_succeeded(self, name: str) -> None:
        """Let the client request the inner login, after the user's login at a terminal. The user completes it."""
        world, agent = self._world, self._world.agent

        def begin() -> None:
            if agent != world.agent or name not in world.state.hosts:
                return
            world.post(r.RoamingLoginBegun(0, name))
            host = world.state.hosts[name]
            if host.master is not None and host.roaming_start.through == host.master.pid:
                world.inners.carry_out(a.BeginRoaming(name, host.master))

        world.clock.after(_AFTER_LOGIN_S, begin)

    def attach(self, action: a.AttachByPort) -> None:
        """Attach an inner master by its port, after the round trips of a TCP connection and of the attach."""
        world, agent = self._world, self._world.agent
        inner = world.inners.living.get(action.name)
        if inner is None:
            return
        inner.by_port, inner.tries = False, inner.tries + 1
        number = inner.tries

        def answered() -> None:
            if (
                agent == world.agent
                and world.inners.living.get(action.name) is inner
                and number == inner.tries
            ):
                self._attached(action, inner, agent)

        world.clock.after(2 * world.net.rtt_s, answered)

    def _attached(self, action: a.AttachByPort, inner: Inner, agent: int) -> None:
        world, flow = self._world, self._world.net.way(action.address)
        machine = world.machines.at(flow) if flow is not None else None
        reaches = flow is not None and world.net.carries(flow) and flow.segment not in BLOCKED
        if flow is None or machine is None or not machine.up or not reaches:
            failed = r.RoamingPortFailed(0, action.name, "no-connection")
            world.clock.after(GIVES_UP_S, lambda: self._post(agent, failed))
        elif machine.name != inner.machine or machine.boot != inner.boot:
            self._post(agent, r.RoamingPortFailed(0, action.name, "refused"))
        else:
            inner.port, inner.by_port, inner.carrier = (
                Connection(world.clock, world.net, flow, (machine,)),
                True,
                None,
            )
            self._watch(inner, inner.port)
            self._post(agent, r.RoamingAttachedByPort(0, action.name, 1))

    def _watch(self, inner: Inner, port: Connection) -> None:
        """Let the kernel notice some time later that a connection carries nothing any more."""

        def check() -> None:
            if inner.port is not port or inner not in self._world.inners.living.values():
                return
            if port.carries:
                self._watch(inner, port)
                return
            inner.port, inner.by_port = None, False
            self._world.post(r.RoamingAway(0, inner.host, "closed"))

        self._world.clock.after(_KEEP_ALIVE_S, check)

    def at_rest(self, name: str) -> None:
        """Check that the sessions of a host continue whose link is, or could be, on the port."""
        world, inner = self._world, self._world.inners.living.get(name)
        host = world.state.hosts.get(name)
        if inner is None or host is None or host.roaming is None or host.user.held or not host.roaming.port:
            return
        machine = world.machines.named(inner.machine)
        carried = inner.carrier is not None and inner.carrier.connection.carries
        carried = carried or (inner.port is not None and inner.port.carries)
        same = machine.boot == inner.boot
        assert carried or not same, world.rules.says(name, "its sessions wait, although the port is open")
        assert world.shown(name) == "connected" or not same, world.rules.says(
            name, f"shown as {world.shown(name)}"
        )

    def _post(self, agent: int, event: e.Event) -> None:
        if agent == self._world.agent:
            self._world.post(event)
