"""The hosts of the simulation: what the user described, and what `ssh -G` says of each."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.net import HOME_ONLY, INTERNAL, PUBLIC
from trayagent.core.events import Vpn
from trayagent.core.hosts import Hop, Wish
from trayagent.core.resolved import HostKeyChecking, Resolved


@dataclass(frozen=True)
class Role:
    """One host: `wish` None is nobody's (a stranger, or an alias that is not listed)."""

    name: str
    peer: str
    machine: str
    wish: Wish | None
    strict: HostKeyChecking = "ask"
    jump: str | None = None
    alias: bool = True
    by_name: bool = False  # the configuration has a name, that DNS resolves

    @property
    def hostname(self) -> str:
        """What ssh connects to."""
        return f"{self.name}.example.net" if self.by_name else self.peer

    def resolved(self) -> Resolved:
        """Return the answer of `ssh -G`."""
        return Resolved(
            self.name,
            self.hostname,
            control_path=f"/cm/{self.name}",
            proxy_jump=self.jump,
            strict_host_key_checking=self.strict,
        )

    def hop(self) -> Hop:
        """Return the first TCP hop."""
        return Hop(self.hostname, 22)


def _listed(**words: object) -> Wish:
    return Wish(listed=True, **{"connect": "always", **words})  # type: ignore[arg-type]


VPNS = (Vpn("corp", "tun*"),)
CAST = {
    role.name: role
    for role in (
        Role("web", PUBLIC, "web", _listed(), by_name=True),
        Role("nas", HOME_ONLY, "home", _listed(), strict="no"),
        Role("lab", HOME_ONLY, "home", _listed()),
        Role("db", INTERNAL, "internal", _listed(), by_name=True),
        Role("corp", INTERNAL, "internal", _listed(vpn="corp"), strict="no"),
        Role("use", PUBLIC, "web", _listed(connect="on-use")),
        Role("touch", PUBLIC, "web", _listed(interactive=True)),
        Role("behind", PUBLIC, "web", _listed(), jump="web", by_name=True),
        Role("adhoc", PUBLIC, "web", None),
        Role("stranger", PUBLIC, "web", None, alias=False),
        Role("deploy", HOME_ONLY, "home", None, strict="no", alias=False),
    )
}
