"""The network manager of the simulation: it names the network, and notices captive portals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trayagent.core.facts import events as e
from trayagent.core.facts.network_manager import Connectivity, ManagerFacts, NetworkName

if TYPE_CHECKING:
    from tests.sim.cast import Role
    from tests.sim.world import World


class Manager:
    """Reports to the agent, once it runs. `portals` are the segments with a captive portal."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._runs = False
        self.portals: set[str] = set()

    def start(self) -> None:
        """Let the manager run from now on."""
        self._runs = True
        self.report()

    def report(self) -> None:
        """Report the network that leads out."""
        if not self._runs:
            return
        interface, segment = self._world.net.outside() or (None, "")
        named = NetworkName(segment, interface=interface) if interface is not None else None
        connectivity: Connectivity = "portal" if self.in_portal() else "full"
        self._world.post(e.ManagerReported(0, ManagerFacts(True, connectivity, named)))

    def in_portal(self) -> bool:
        """Report whether the manager runs and sees a captive portal."""
        outside = self._world.net.outside()
        return self._runs and outside is not None and outside[1] in self.portals

    def allows(self, role: Role) -> bool:
        """Report whether the configuration allows a host on this network, as far as its name is known."""
        outside = self._world.net.outside()
        networks = role.wish.networks if role.wish is not None else ()
        return not networks or (self._runs and outside is not None and outside[1] in networks)
