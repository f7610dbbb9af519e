"""Checks where and how often spare masters are made, where they are used, and what ends them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tests.sim.cast import Role, first_hop
from tests.sim.net import HOME_ONLY, INTERNAL, TUN, Flow
from trayagent.core.facts.network import Lookup
from trayagent.core.policy.spare_route import spare_of

if TYPE_CHECKING:
    from tests.sim.living import Living
    from tests.sim.world import World

PER_HOUR = 12
HOUR_S = 3600.0


class Spares:
    """The rules of spare masters. `made` has the times of the logins that made them, by host."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.made: dict[str, list[float]] = defaultdict(list)

    def has(self, pid: int) -> bool:
        """Report whether a process is a spare master."""
        living = self._world.living.get(pid)
        return living is not None and living.spare

    def may_be_made(self, name: str, role: Role, flow: Flow | None) -> None:
        """Check that a spare master may be made over this flow, and that the host does not get too many."""
        world = self._world
        says = world.rules.says
        assert role.jump is None and role.alias and role.wish is not None, says(
            name, "a spare master of no host"
        )
        assert not role.wish.interactive, says(name, "a spare master where a person is asked")
        assert role.wish.connect == "always", says(
            name, "a spare master of a host that is not always connected"
        )
        assert flow is not None and flow.bound is not None, says(
            name, "a spare master without a route of its own"
        )
        self._may_be_at(name, role, flow)
        own = world.listening(name)
        assert own is not None, says(name, "a spare master without a master")
        assert own.connection.flow.local != flow.local, says(name, "a spare master beside the master itself")
        assert len(self._of(name)) == 0, says(name, "a second spare master")
        now = world.clock.now
        recent = self.made[name] = [at for at in self.made[name] if now - at < HOUR_S] + [now]
        assert len(recent) <= PER_HOUR, says(name, f"{len(recent)} spare masters in an hour: {recent}")

    def may_be_used(self, name: str, pid: int) -> None:
        """Check that a spare master may be asked for an answer."""
        living = self._world.living[pid]
        self._may_be_at(name, self._world.role_of(name), living.connection.flow)

    def _may_be_at(self, name: str, role: Role, flow: Flow) -> None:
        world, says = self._world, self._world.rules.says
        net = world.net
        tunnel = net.tunnel_number is not None and (net.tunnel_everything or role.peer == INTERNAL)
        assert not tunnel, says(name, "a spare master beside a tunnel")
        assert name not in world.rules.needs_tunnel, says(name, "a spare master of a host behind a VPN")
        assert flow.bound not in net.metered, says(name, "a spare master on a metered network")
        networks = role.wish.networks if role.wish is not None else ()
        assert not networks or flow.segment in networks, says(name, f"a spare master at {flow.segment}")
        if role.peer in {HOME_ONLY, INTERNAL}:
            reached = net.place(flow) in world.rules.reached_at[name]
            assert reached, says(name, f"a spare master at {net.place(flow)}, never reached there")

    def one_each(self) -> None:
        """Check that each host has at most one spare master, and that it works."""
        for name in self._world.roles:
            spares = self._of(name)
            assert len(spares) <= 1, self._world.rules.says(name, f"{len(spares)} spare masters")
            for living in spares:
                known = self._world.state.hosts[name].spare
                assert known is not None and known.pid == living.master.pid, self._world.rules.says(
                    name, f"the spare master {living.master.pid} was left behind"
                )
                assert living.connection.carries, self._world.rules.says(name, "a dead spare master")

    def none_beside_a_tunnel(self) -> None:
        """Check that no master that was a spare one sends beside a tunnel of which the agent knows."""
        state = self._world.state
        for host in state.hosts.values():
            living = self._world.living.get(host.master.pid) if host.master is not None else None
            if living is None or not living.master.spare or living.spare:
                continue
            route = state.snapshot.matched.get(Lookup(living.connection.flow.peer))
            beside = route is not None and route.interface == TUN
            assert living.connection.muted or not beside, self._world.rules.says(
                living.host, f"pid {living.master.pid} sends beside a tunnel"
            )

    def is_there(self, name: str, role: Role) -> None:
        """Check that a host with two networks has a spare master, unless a rule that the world knows forbids it."""
        world, host = self._world, self._world.state.hosts.get(name)
        if host is None or role.wish is None or role.jump is not None or world.listening(name) is None:
            return
        idle = role.wish.connect != "always" or role.wish.interactive or role.wish.vpn is not None
        needs_user = host.login.kind != "quiet" or host.login.helped or host.standby.refused
        if idle or needs_user or host.user.held or world.state.paused(host, world.clock.now):
            return
        tunnel = name in world.rules.needs_tunnel or host.reached.learned_vpn is not None
        private = first_hop(role).peer in {HOME_ONLY, INTERNAL}
        if tunnel or private or role.wish.networks or not world.listening(name).master.started_by_agent:  # type: ignore[union-attr]
            return
        assert self._of(name), world.rules.says(
            name, f"no spare master: {spare_of(host, world.state)} {host.standby}"
        )

    def _of(self, name: str) -> list[Living]:
        return [living for living in self._world.living.values() if living.host == name and living.spare]
