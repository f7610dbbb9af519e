"""The laboratory's map: names, addresses and the `ip` commands that create them. No side effects.

    laptop ── bridges ── gateways ── delay lines ── internet ── server (and 10.99.0.0/24 behind it)
             (air)      home, cafe,    (air)
                        office

`air` is one namespace. It holds a bridge per network, into which an interface of the laptop is plugged as a
phone joins a Wi-Fi. It also holds the interfaces that the delay lines connect. All addresses are from
TEST-NET-3 (RFC 5737), shared address space (RFC 6598) or private ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network

SERVER = "203.0.113.10"
JUMP = "203.0.113.11"
OTHER = "203.0.113.12"
VPN_SERVER = "203.0.113.2"
SERVER_6 = "2001:db8:113::10"
VPN_PORT = 51820
INTERNAL = "10.99.0.10"
INTERNAL_OTHER = "10.99.0.11"
INTERNAL_NET = "10.99.0.0/24"
VPN_NET = "10.8.0.0/24"
# No service listens there, so a name that is not in /etc/hosts fails immediately, and no query leaves the
# machine.
NAME_SERVER = "203.0.113.53"

HOSTS = {SERVER: "server", JUMP: "jump", OTHER: "other", INTERNAL: "db", INTERNAL_OTHER: "db2"}

# The route metrics that NetworkManager gives to a Wi-Fi interface and a cable.
METRICS = {"wlan0": 600, "eth0": 100}
INTERFACES = tuple(METRICS)


@dataclass(frozen=True, slots=True)
class Network:
    """A network that the laptop can join: its LAN, and its gateway's uplink to the internet."""

    name: str
    number: int
    subnet: str
    gateway: str
    laptop: str

    @property
    def prefix_len(self) -> int:
        """The LAN's prefix length in bits."""
        return ip_network(self.subnet).prefixlen

    @property
    def subnet_6(self) -> str:
        """The LAN's IPv6 prefix, without the prefix length, which is always 64."""
        return f"2001:db8:{self.number}::"

    def uplink(self, side: int) -> str:
        """Return the uplink's address on the internet side (1) or the gateway side (2)."""
        return f"100.64.{self.number}.{side}"

    def uplink_6(self, side: int) -> str:
        """Return the uplink's IPv6 address on the internet side (1) or the gateway side (2)."""
        return f"2001:db8:ffff:{self.number}::{side}"

    def mac(self, side: int) -> str:
        """Return a fixed link-layer address: uplink end 1 (internet) or 2 (gateway), or the LAN's gateway (3)."""
        return f"02:00:5e:00:{self.number:02x}:{side:02x}"


NETWORKS = {
    n.name: n
    for n in (
        Network("home", 1, "192.168.10.0/24", "192.168.10.1", "192.168.10.2"),
        Network("cafe", 2, "10.20.0.0/24", "10.20.0.1", "10.20.0.2"),
        # The office has the same private addresses as home, behind another gateway.
        Network("office", 3, "192.168.10.0/24", "192.168.10.1", "192.168.10.2"),
    )
}
NODES = ("air", "internet", "server", *NETWORKS, "laptop")


def sysctls(node: str, *, ipv6: bool) -> dict[str, str]:
    """Return the sysctls of a node's network namespace."""
    off = "1" if not ipv6 or node == "air" else "0"
    settings = {
        "net/ipv6/conf/all/disable_ipv6": off,
        "net/ipv6/conf/default/disable_ipv6": off,
        "net/ipv4/ip_unprivileged_port_start": "0",
        "net/ipv4/conf/all/rp_filter": "0",
        "net/ipv4/conf/default/rp_filter": "0",
    }
    if node in NETWORKS or node == "internet":
        settings["net/ipv4/ip_forward"] = "1"
        settings["net/ipv6/conf/all/forwarding"] = "1"
    return settings


def links(netns: Mapping[str, str]) -> list[str]:
    """Return the `ip` commands, for `air`, that create every link.

    `netns` maps a node to the name that `ip` uses for the node's namespace.
    """
    lines = []
    for n in NETWORKS.values():
        gateway, internet = netns[n.name], netns["internet"]
        lines += [
            f"link add br-{n.name} type bridge mcast_snooping 0",
            f"link add lan-{n.name} type veth peer name lan address {n.mac(3)} netns {gateway}",
            f"link set lan-{n.name} master br-{n.name} up",
            f"link set br-{n.name} up",
            f"link add in-{n.name} type veth peer name wan address {n.mac(2)} netns {gateway}",
            f"link add out-{n.name} type veth peer name {n.name} address {n.mac(1)} netns {internet}",
            f"link set in-{n.name} up",
            f"link set out-{n.name} up",
        ]
    lines += [
        f"link add air-{name} type veth peer name {name} netns {netns['laptop']}" for name in INTERFACES
    ]
    internet, server = netns["internet"], netns["server"]
    lines.append(f"link add server netns {internet} type veth peer name eth0 netns {server}")
    return lines


def addresses(node: str, *, nat: bool, ipv6: bool) -> list[str]:
    """Return the `ip` commands that give one node its addresses and routes."""
    if node in NETWORKS:
        return ["link set lo up", *_gateway(NETWORKS[node], ipv6=ipv6)]
    if node == "internet":
        return ["link set lo up", *_internet(nat=nat, ipv6=ipv6)]
    if node == "server":
        return ["link set lo up", *_server(ipv6=ipv6)]
    if node == "laptop":
        return ["link set lo up", *(f"link set {name} up" for name in INTERFACES)]
    return []


def _gateway(n: Network, *, ipv6: bool) -> list[str]:
    lines = [
        f"addr add {n.gateway}/{n.prefix_len} dev lan",
        f"addr add {n.uplink(2)}/30 dev wan",
        "link set lan up",
        "link set wan up",
        # Use a permanent entry, because a neighbour request would cross the delay line and add a round trip.
        f"neigh add {n.uplink(1)} lladdr {n.mac(1)} dev wan nud permanent",
        f"route add default via {n.uplink(1)}",
    ]
    if ipv6:
        lines += [
            f"addr add {n.subnet_6}1/64 dev lan nodad",
            f"addr add {n.uplink_6(2)}/64 dev wan nodad",
            f"neigh add {n.uplink_6(1)} lladdr {n.mac(1)} dev wan nud permanent",
            f"route add default via {n.uplink_6(1)}",
        ]
    return lines


def _internet(*, nat: bool, ipv6: bool) -> list[str]:
    lines = ["addr add 203.0.113.1/24 dev server", "link set server up"]
    # Silently drop packets that leave a LAN for a private address elsewhere.
    lines += [f"route add blackhole {prefix}" for prefix in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
    if ipv6:
        lines.append("addr add 2001:db8:113::1/64 dev server nodad")
    for n in NETWORKS.values():
        lines += [
            f"addr add {n.uplink(1)}/30 dev {n.name}",
            f"link set {n.name} up",
            f"neigh add {n.uplink(2)} lladdr {n.mac(2)} dev {n.name} nud permanent",
        ]
        if not nat and n.name != "office":  # two LANs with the same addresses cannot both have a route here
            lines.append(f"route add {n.subnet} via {n.uplink(2)}")
        if ipv6:
            lines += [
                f"addr add {n.uplink_6(1)}/64 dev {n.name} nodad",
                f"neigh add {n.uplink_6(2)} lladdr {n.mac(2)} dev {n.name} nud permanent",
                f"route add {n.subnet_6}/64 via {n.uplink_6(2)}",
            ]
    return lines


def _server(*, ipv6: bool) -> list[str]:
    outside = (SERVER, JUMP, OTHER, VPN_SERVER, NAME_SERVER)
    lines = [f"addr add {ip}/24 dev eth0" for ip in outside]
    lines += [f"addr add {ip}/32 dev lo" for ip in (INTERNAL, INTERNAL_OTHER)]
    lines += ["link set eth0 up", "route add default via 203.0.113.1"]
    if ipv6:
        lines += [f"addr add {SERVER_6}/64 dev eth0 nodad", "route add default via 2001:db8:113::1"]
    return lines
