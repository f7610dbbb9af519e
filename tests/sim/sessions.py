"""The sessions of the simulation. Each goes through a master, and a draining master ends with its last session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sim.living import Living
    from tests.sim.world import World


class Sessions:
    """Opens and ends sessions, and counts them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def open(self, name: str) -> None:
        """Let the user open a session through the host's master."""
        living = self._world.listening(name)
        if living is not None:
            living.sessions += 1

    def end(self, name: str) -> None:
        """Let all sessions to a host end."""
        for living in [x for x in self._world.living.values() if x.host == name]:
            living.sessions = 0
            self.end_if_drained(living)
        self._world.inners.end_sessions(name)

    def end_if_drained(self, living: Living) -> None:
        """End a draining master that carries no session any more."""
        if living.draining and not self.of(living) and not living.stopped:
            self._world.die(living, by_request=True)

    def of(self, living: Living) -> int:
        """Return how many sessions a master carries, including those of masters that run through it."""
        return living.sessions + sum(other.carrier is living for other in self._world.living.values())
