"""Compares two snapshots, names the differences, and finds the masters that they concern; pure."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from trayagent.core.facts.evidence import NO_EVIDENCE, Evidence
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import MasterPath
from trayagent.core.facts.network import Network, Snapshot, Touched
from trayagent.core.tunnel_underlay import tunnels_up, underlay
from trayagent.core.usable_routes import network_of, path_of


class NetworkDelta(Struct, frozen=True):
    """The differences between two snapshots. `flickered`: something changed and changed back between them."""

    addresses_added: tuple[str, ...] = ()
    addresses_gone: tuple[str, ...] = ()
    links_up: tuple[str, ...] = ()
    links_down: tuple[str, ...] = ()
    default_changed: bool = False
    underlay_changed: bool = False
    tunnels_gone: tuple[str, ...] = ()
    flickered: bool = False

    def __bool__(self) -> bool:
        return self != NetworkDelta()

    @property
    def evidence(self) -> Evidence:
        """The differences as evidence."""
        pairs = [
            *(("added", ip) for ip in self.addresses_added),
            *(("removed", ip) for ip in self.addresses_gone),
            *(("up", name) for name in self.links_up),
            *(("down", name) for name in self.links_down),
        ]
        flags = {
            "default": self.default_changed,
            "underlay": self.underlay_changed,
            "flicker": self.flickered,
        }
        return Evidence((*pairs, *((key, "changed") for key, on in flags.items() if on)))


def compare(old: Snapshot, new: Snapshot, touched: Touched) -> NetworkDelta:
    """Return how two snapshots differ. Lifetimes and flags of addresses do not count."""
    before = {a.ip for i in old.interfaces for a in i.addresses}
    after = {a.ip for i in new.interfaces for a in i.addresses}
    up_before = {i.name for i in old.interfaces if i.up}
    up_after = {i.name for i in new.interfaces if i.up}
    return NetworkDelta(
        tuple(sorted(after - before)),
        tuple(sorted(before - after)),
        tuple(sorted(up_after - up_before)),
        tuple(sorted(up_before - up_after)),
        _default(old) != _default(new),
        _underlay_changed(old, new, touched),
        tuple(sorted(tunnels_up(old) - tunnels_up(new))),
        bool(touched),
    )


def master_network(host: Host, path: MasterPath, snapshot: Snapshot) -> Network | None:
    """Return the network through which a master's packets leave."""
    if not path.present or path.egress is None or host.master is None:
        return None
    routes = [
        r for lookup, r in snapshot.matched.items() if r is not None and lookup.peer == host.master.peer
    ]
    route = next((r for r in routes if r.interface == path.egress), None)
    return network_of(snapshot, route) if route is not None else None


def path_change(host: Host, path: MasterPath, network: Network | None, touched: Touched) -> Evidence:
    """Return why the master's path counts as changed, or no evidence if it is unchanged.

    After a flicker (an address removed and added again, a carrier lost for a moment), the path is the same as before.
    A flicker still counts as a change, because the machine may be on another network. Another gateway is a change, too.
    """
    master = host.master
    if master is None:
        return NO_EVIDENCE
    if host.path is None or path_differs(host.path, path):
        return Evidence.of(path="changed")
    if not path.present:
        return NO_EVIDENCE  # while the address is missing, only the return of the address is a change
    if network is not None and host.network is not None and network.differs(host.network):
        return Evidence.of(gateway="changed")
    if touched.lost:
        return Evidence.of(messages="lost")
    locals_ = {local.partition("%")[0] for local in (master.local, *master.other_locals) if local is not None}
    if locals_ & touched.addresses:
        return Evidence.of(address="flickered")
    if touched.links & {path.egress, path.bearer}:
        return Evidence.of(carrier="flickered")
    if path.egress is not None and path.egress in touched.routes:
        return Evidence.of(route="flickered")
    return NO_EVIDENCE


def path_differs(old: MasterPath, new: MasterPath) -> bool:
    """Report whether the path itself changed. `source_differs` counts only when it becomes true."""
    new = replace(new, tentative=old.tentative)
    return old != (new if new.source_differs else replace(new, source_differs=old.source_differs))


def current_path(host: Host, snapshot: Snapshot) -> MasterPath | None:
    """Return the current path of the host's master, or None without a master."""
    return path_of(host.master, snapshot) if host.master is not None else None


def _underlay_changed(old: Snapshot, new: Snapshot, touched: Touched) -> bool:
    """Report whether the underlay of tunnels changed: the default route is another one, or it flickered.

    A better source address (a new privacy address) does not count, because tunnels keep their source address.
    """
    before, after = underlay(old), underlay(new)
    if before is None or after is None:
        return before != after
    interface, gateway, source = before
    if (interface, gateway) != after[:2] or (source is not None and not new.has_address(source)):
        return True
    macs = [s.gateway_macs.get((interface, gateway)) for s in (old, new)] if gateway else [None]
    if all(macs) and len(set(macs)) > 1:
        return True
    return touched.lost or interface in touched.links | touched.routes or source in touched.addresses


def _default(snapshot: Snapshot) -> tuple[tuple[str, str | None], ...]:
    return tuple((r.interface, r.gateway) for r in snapshot.default_routes)
