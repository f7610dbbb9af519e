"""Determine the kind of each interface from its driver, hardware type and relations; pure.

Source: linux/if_arp.h, the `kind` of each driver's rtnl_link_ops.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from trayagent.core.facts.network import Kind
from trayagent.netlink.rtnetlink import Link, RouteEntry

ARPHRD_PPP, ARPHRD_LOOPBACK, ARPHRD_NONE = 512, 772, 0xFFFE
ARPHRD_TUNNEL, ARPHRD_TUNNEL6, ARPHRD_SIT, ARPHRD_IPGRE, ARPHRD_IP6GRE = 768, 769, 776, 778, 823
# An interface with one of these types and without a driver name is a tunnel of an old driver.
_TUNNEL_TYPES = frozenset({ARPHRD_TUNNEL, ARPHRD_TUNNEL6, ARPHRD_SIT, ARPHRD_IPGRE, ARPHRD_IP6GRE})

_VPN = frozenset({"tun", "wireguard", "amneziawg", "ovpn", "ovpn-dco", "xfrm", "ipsec", "vti", "vti6"})
_IP_IN_IP = frozenset(
    {"ipip", "sit", "ip6tnl", "gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan"}
)
_TUNNELS = _VPN | _IP_IN_IP | frozenset({"l2tpeth", "gtp"})
# Packets of interfaces of these kinds leave the machine only through another interface, or not at all.
_OVERLAYS = frozenset({"veth", "vrf", "vxlan", "geneve", "bareudp", "macvtap", "ipvtap"})
_VIRTUAL = _OVERLAYS | frozenset({"dummy", "ifb", "nlmon", "vcan", "vxcan", "netdevsim", "vsockmon"})
# An interface of one of these types has the kind of its lower devices.
_PLEXES = frozenset({"bridge", "openvswitch", "bond", "team", "hsr", "batadv"})
_STACKED = _PLEXES | frozenset({"vlan", "macvlan", "ipvlan", "macsec", "dsa", "rmnet"})
# These have the kind of their ports, which often belong to a container. Without ports they are virtual.
_VIRTUAL_WHEN_BARE = frozenset({"bridge", "openvswitch"})


def kinds(
    links: Sequence[Link], routes: Sequence[RouteEntry], with_device: Collection[str] = ()
) -> dict[int, Kind]:
    """Return the kind of each link by index.

    `with_device` names the links that have a hardware device (a card, a modem).
    """
    judge = _Judge(links, routes, with_device)
    return {link.index: judge.kind(link) for link in links}


def lower(link: Link, links: Sequence[Link]) -> tuple[str, ...]:
    """Return the names of the lower devices of `link`: its ports or members, and its parent."""
    ports = [other.name for other in links if other.master == link.index]
    if link.kind != "veth" and not link.parent_elsewhere and link.parent != link.index:
        ports += [other.name for other in links if other.index == link.parent]
    return tuple(ports)


class _Judge:
    def __init__(
        self, links: Sequence[Link], routes: Sequence[RouteEntry], with_device: Collection[str]
    ) -> None:
        self._by_name: Mapping[str, Link] = {link.name: link for link in links}
        self._links, self._routes, self._with_device = links, routes, with_device
        self._no_hardware = not any(self._is_hardware(link) for link in links)

    def kind(self, link: Link, above: frozenset[int] = frozenset()) -> Kind:
        """Determine the kind of one link; `above` are the links on top of it, in case links form a ring."""
        if link.arp_type == ARPHRD_LOOPBACK:
            return "loopback"
        if link.arp_type == ARPHRD_PPP or link.kind == "ppp":
            return "physical" if self._is_modem(link) else "vpn"
        if link.kind in _TUNNELS:
            return "virtual" if link.tap and self._is_bridge_port(link) else "vpn"
        if link.kind in _STACKED:
            return self._of_lower(link, above | {link.index})
        if link.kind in _VIRTUAL:
            return "physical" if self._is_wire_of_a_container(link) else "virtual"
        if link.kind or self._has_device(link):
            return "physical"
        # Like a tunnel, a modem without Ethernet framing has ARPHRD_NONE. But a modem has a hardware device, and a
        # tunnel has none.
        return "vpn" if link.arp_type in _TUNNEL_TYPES or link.arp_type == ARPHRD_NONE else "physical"

    def _of_lower(self, link: Link, above: frozenset[int]) -> Kind:
        if link.parent_elsewhere:
            return "physical"  # a container's macvlan: the network card is in another namespace
        names = lower(link, self._links)
        found = {self.kind(self._by_name[n], above) for n in names if self._by_name[n].index not in above}
        for kind in ("physical", "vpn", "virtual"):
            if kind in found:
                # The ports of libvirt's and Docker's bridges are taps and veths, so such a bridge is no VPN.
                return "virtual" if kind == "vpn" and link.kind in _VIRTUAL_WHEN_BARE else kind
        return "virtual" if link.kind in _VIRTUAL_WHEN_BARE else "physical"

    def _is_wire_of_a_container(self, link: Link) -> bool:
        """Report whether a veth is the uplink: the machine has no hardware, and the veth is not a bridge's port.

        This is so in a container or a network namespace. On a machine with a network card, a veth leads into a
        container.
        """
        return link.kind == "veth" and self._no_hardware and not link.master

    def _is_modem(self, link: Link) -> bool:
        """Report whether a PPP link is the machine's own uplink (mobile modem, PPPoE) and not a VPN.

        L2TP, PPTP and SSL VPNs are PPP too. Another network carries such a VPN, so another interface has a route with a
        gateway, if only to the VPN's server. If the link is a modem, no other interface has such a route.
        """
        mine = other = False
        for route in self._routes:
            for hop in route.hops:
                if hop.index == link.index:
                    mine = mine or route.prefix_len == 0
                else:
                    other = other or hop.gateway is not None
        return mine and not other

    def _is_bridge_port(self, link: Link) -> bool:
        return any(other.index == link.master and other.kind in _VIRTUAL_WHEN_BARE for other in self._links)

    def _has_device(self, link: Link) -> bool:
        return bool(link.bus_device) or link.name in self._with_device

    def _is_hardware(self, link: Link) -> bool:
        tunnel = link.arp_type in _TUNNEL_TYPES or link.arp_type in {ARPHRD_NONE, ARPHRD_LOOPBACK}
        return self._has_device(link) or (not link.kind and not tunnel)
