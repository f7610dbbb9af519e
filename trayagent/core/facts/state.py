"""The whole picture that `decide` looks at; frozen, with the few questions that every part asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from trayagent.core.facts.events import Vpn
from trayagent.core.facts.hosts import NEVER, Host
from trayagent.core.facts.network import Interface, Snapshot
from trayagent.core.facts.network_manager import ManagerFacts
from trayagent.core.facts.time_constants import WOKEN_S
from trayagent.core.policy.rate_limits import Servers


@dataclass(frozen=True, slots=True)
class VpnLife:
    """What was seen of a VPN: whether it was up, and since when it is missed (down, on a network that is well).

    `connecting_at` is when it first tried to come up since then, and had its secret; one that fails and tries
    again is still at it. `asking`: somebody waits for that secret.
    `sign_in_said` tells how the last sign-in failed.
    """

    was_up: bool = False
    missed_at: float | None = None
    connecting_at: float | None = None
    asking: bool = False
    sign_in_said: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Everything known at one moment; `hosts` by name."""

    hosts: Mapping[str, Host] = field(default_factory=dict)
    started: bool = False
    network: Snapshot = field(default_factory=Snapshot)
    network_at: float = NEVER
    """When something about the network last changed."""
    vpns: tuple[Vpn, ...] = ()
    manager: ManagerFacts = field(default_factory=ManagerFacts)
    vpn_lives: Mapping[str, VpnLife] = field(default_factory=dict)
    sign_ins: frozenset[str] = frozenset()
    """The VPNs that only the user can bring up again."""
    servers: Servers = field(default_factory=dict)
    adopt: bool = True
    keep_while_offline_s: float = 600.0
    learn_vpn: bool = True
    paused_until: float | None = None
    woke_at: float = NEVER
    next_attempt: int = 1

    def paused(self, host: Host, now: float) -> bool:
        """Report whether trayagent must keep its hands off this host."""
        until = max(self.paused_until or NEVER, host.paused_until or NEVER)
        return until > now

    def vpn_interface(self, name: str) -> Interface | None:
        """Return the interface of a configured VPN while it is up, else None."""
        vpn = next((v for v in self.vpns if v.name == name), None)
        if vpn is None or vpn.interface is None:
            return None
        return next(
            (
                i
                for i in self.network.interfaces
                if i.up and i.addresses and fnmatchcase(i.name, vpn.interface)
            ),
            None,
        )

    def host_of_pid(self, pid: int) -> Host | None:
        """Return the host whose master has that pid."""
        return next((h for h in self.hosts.values() if h.master is not None and h.master.pid == pid), None)

    def doubtful(self, host: Host, now: float) -> bool:
        """Report whether the end of this host's master would be the network's doing (policy: *suspect*)."""
        return host.suspect or host.probe is not None or now - self.woke_at < WOKEN_S
