"""The network manager of the simulation: it reports the network's name and captive portals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trayagent.core.facts import events as e
from trayagent.core.facts.network_manager import Connectivity, Link, ManagerFacts, NetworkName

if TYPE_CHECKING:
    from tests.sim.cast import Role
    from tests.sim.world import World


class Manager:
    """A network manager that reports to the agent while it runs. `portals` are the segments with a captive portal."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._runs = False
        self._left: set[str] = set()  # interfaces that are leaving their network
        self.portals: set[str] = set()
        self.in_portal = False
        """Whether the agent knows that it is behind a captive portal. The manager needs a moment to find out."""

    def start(self) -> None:
        """Start the manager."""
        self._runs = True
        self.report()

    def leave(self, interface: str) -> None:
        """Report that an interface leaves its network, before the kernel shows the next one."""
        leads_out = self._world.net.outside()
        if (leads_out is not None and leads_out[0] == interface) or self._world.spares:
            self._left.add(interface)
            self._report(ManagerFacts(running=True, connectivity="none", links=self._links()))

    def report(self) -> None:
        """Report the network of the default route."""
        self._left.clear()
        interface, segment = self._world.net.outside() or (None, "")
        named = NetworkName(segment, interface=interface) if interface is not None else None
        connectivity: Connectivity = "portal" if segment in self.portals else "full"
        links = self._links()
        self._report(ManagerFacts(running=True, connectivity=connectivity, network=named, links=links))

    def _links(self) -> tuple[Link, ...]:
        net = self._world.net
        gone = self._left | net.dark
        spots = [spot for spot in net.spots.values() if self._world.spares and spot.interface not in gone]
        return tuple(
            Link(
                spot.interface,
                NetworkName(spot.segment, interface=spot.interface),
                spot.interface in net.metered,
            )
            for spot in spots
        )

    def _report(self, facts: ManagerFacts) -> None:
        if not self._runs:
            return
        self._world.read()  # the agent reads the network at each report, before it decides on it
        self.in_portal = facts.connectivity == "portal"
        self._world.post(e.ManagerReported(0, facts))

    def allows(self, role: Role) -> bool:
        """Report whether the configuration allows a host on this network.

        An unknown network name allows only unrestricted hosts.
        """
        outside = self._world.net.outside()
        networks = role.wish.networks if role.wish is not None else ()
        return not networks or (self._runs and outside is not None and outside[1] in networks)
