"""The complete state on which `decide` works, with the queries that every part needs; frozen."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from msgspec import Struct, field

from trayagent.core.facts.host_table import once, read_everything
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network import Interface, Snapshot
from trayagent.core.facts.network_manager import ManagerFacts
from trayagent.core.facts.time_constants import NEVER, WOKEN_S
from trayagent.core.facts.vpns import Vpn, VpnObservation
from trayagent.core.policy.logins.account_lockout import LetIn, Login
from trayagent.core.policy.logins.login_limits_per_server import Servers


class Past(Struct, frozen=True):
    """An earlier state of the network, which began at `at`."""

    at: float
    snapshot: Snapshot


class State(Struct, frozen=True):
    """Everything known at one moment; `hosts` by name."""

    hosts: Mapping[str, Host] = field(default_factory=dict)
    forgotten: Mapping[str, Host] = field(default_factory=dict)
    """Hosts that left the configuration soon after a refused login. That login still counts for its account."""
    started: bool = False
    snapshot: Snapshot = field(default_factory=Snapshot)
    network_at: float = NEVER
    """When the network last changed."""
    past: tuple[Past, ...] = ()
    """The last few states of the network before the present one, newest first."""
    read_at: float = NEVER
    """When the network was last read, or when a reading was last requested."""
    vpns: tuple[Vpn, ...] = ()
    manager: ManagerFacts = field(default_factory=ManagerFacts)
    vpn_observations: Mapping[str, VpnObservation] = field(default_factory=dict)
    sign_ins: frozenset[str] = frozenset()
    """The VPNs that only the user can bring up again."""
    servers: Servers = field(default_factory=dict)
    let_in: Mapping[Login, LetIn] = field(default_factory=dict)
    adopt: bool = True
    keep_while_offline_s: float = 600.0
    learn_vpn: bool = True
    end_beside: bool = False
    mptcp: bool = True
    paused_until: float | None = None
    woke_at: float = NEVER
    next_attempt: int = 1

    @property
    def accountable(self) -> Mapping[str, Host]:
        """The hosts whose refused logins count, by name."""
        if self.forgotten:
            read_everything(self.hosts)
        return {**self.forgotten, **self.hosts} if self.forgotten else self.hosts

    def paused(self, host: Host, now: float) -> bool:
        """Report whether trayagent must leave this host alone."""
        return self.pause_ends_at(host, now) is not None

    def pause_ends_at(self, host: Host, now: float) -> float | None:
        """Return when the pause of this host ends: inf until the user resumes it, None if it is not paused."""
        if host.draining is not None:
            host = self.hosts.get(host.draining.owner, host)
        until = max(self.paused_until or NEVER, host.user.paused_until or NEVER)
        return until if until > now else None

    def vpn_interface(self, name: str) -> Interface | None:
        """Return the interface of a configured VPN while the VPN is up, else None."""
        vpn = next((v for v in self.vpns if v.name == name), None)
        if vpn is None or vpn.interface is None:
            return None
        return next(
            (
                i
                for i in self.snapshot.interfaces
                if i.up and i.addresses and fnmatchcase(i.name, vpn.interface)
            ),
            None,
        )

    def host_of_pid(self, pid: int) -> Host | None:
        """Return the host whose master has that pid, or None."""
        name = once(self.hosts, _hosts_by_pid, of=("master",)).get(pid)
        return self.hosts.get(name) if name is not None else None

    def draining(self, name: str) -> tuple[Host, ...]:
        """Return the draining masters of a host. Each is a host of its own in the state."""
        found = (h for h in self.hosts.values() if h.draining is not None and h.draining.owner == name)
        return tuple(h for h in found if h.draining is not None and h.draining.beside is None)

    def doubtful(self, host: Host, now: float, *, in_order: bool = False) -> bool:
        """Report whether this host's master is suspect. If the master ends now, the network is the likely cause.

        `in_order`: ssh ends while its connection works, such as by `ssh -O exit` or `exit` in a terminal. Then a probe
        without an answer so far shows nothing, because the agent sends one whenever the user begins to use the host.
        A wake shows nothing either once the master has answered.
        """
        if in_order:
            return host.suspect
        return host.suspect or host.doubt.probe is not None or now - self.woke_at < WOKEN_S


def _hosts_by_pid(hosts: Mapping[str, Host]) -> Mapping[int, str]:
    """Return the name of the host of each master, by pid."""
    return {h.master.pid: h.name for h in reversed(tuple(hosts.values())) if h.master is not None}
