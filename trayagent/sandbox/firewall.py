"""The gateways' firewalls (nft): address translation, silent dropping, and answers in a server's place."""

from __future__ import annotations

import json
from typing import Literal

from trayagent.errors import TrayagentError
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.network_map import Network
from trayagent.sandbox.node import Node


def set_firewall(gateway: Node, network: Network, *, nat: bool, silent: bool) -> None:
    """Make a gateway translate addresses, silently drop unknown packets, or do neither."""
    load(gateway, _rules(network, nat=nat, silent=silent))
    if silent:
        # By default, conntrack accepts a connection even if it did not see the connection's start.
        strict = "echo 0 > /proc/sys/net/netfilter/nf_conntrack_tcp_loose"
        gateway.check(["sh", "-c", strict], admin=True)


def lose_connection(gateway: Node, port: int) -> None:
    """Make a gateway drop the packets of the TCP connection from this port of the laptop."""
    load(gateway, _without_connection(port))


MptcpBox = Literal["pass", "drop", "strip"]
"""What a gateway does with Multipath TCP: it passes or drops its packets, or removes the option from them."""
_BOX_RULES: dict[MptcpBox, str] = {
    "pass": "",
    "drop": "tcp option mptcp exists drop",
    "strip": "reset tcp option mptcp",
}


def set_mptcp_box(gateway: Node, box: MptcpBox) -> None:
    """Make a gateway do this with Multipath TCP, and count its packets that come from the LAN."""
    rules = (
        f"{_no_table('inet mptcp')}\ntable inet mptcp {{\n counter seen {{ }}\n chain through {{\n"
        "  type filter hook forward priority 0;\n"
        "  iifname lan tcp option mptcp exists counter name seen\n"
        f"  {_BOX_RULES[box]}\n }}\n}}\n"
    )
    load(gateway, rules)


def mptcp_packets(gateway: Node) -> int:
    """Return how many packets with the option of Multipath TCP came from the LAN since `set_mptcp_box`."""
    listed = gateway.check([tool("nft"), "-j", "list", "counter", "inet", "mptcp", "seen"], admin=True)
    found = next(one["counter"] for one in json.loads(listed)["nftables"] if "counter" in one)
    return int(found["packets"])


def load(gateway: Node, rules: str) -> None:
    """Load rules into a gateway. Raises TrayagentError: sandbox-forbidden (no nf_tables), sandbox-broken."""
    try:
        gateway.check([tool("nft"), "-f", "-"], admin=True, text=rules)
    except TrayagentError as error:
        # nft prints the kernel's EOPNOTSUPP, EPROTONOSUPPORT, or ENOENT for a module that is missing.
        if not any(words in error.title for words in ("not supported", "rule: No such file or directory")):
            raise
        modules = "nf_tables nft_chain_nat nft_masq nft_redir nft_ct"
        hint = f"The kernel needs nf_tables. Outside any container: sudo modprobe -a {modules}"
        raise TrayagentError(error.title, code="sandbox-forbidden", hint=hint) from None


def _rules(n: Network, *, nat: bool, silent: bool) -> str:
    """Return the nft rules of a gateway.

    `silent`: act as a router that silently drops packets whose source is not in its LAN, and packets of TCP
    connections whose start it did not see.
    """
    rules = [_no_table("ip nat"), _no_table("ip strict")]
    if nat:
        rules.append(
            "table ip nat {\n chain out {\n  type nat hook postrouting priority 100;\n"
            "  oifname wan masquerade\n }\n}"
        )
    if silent:
        rules.append(
            "table ip strict {\n chain through {\n  type filter hook forward priority 0;\n"
            f"  iifname lan ip saddr != {n.subnet} drop\n  ct state invalid drop\n }}\n}}"
        )
    return "\n".join(rules) + "\n"


def _without_connection(port: int) -> str:
    """Return the nft rules of a gateway that silently drops the packets of one TCP connection of the laptop."""
    return (
        "table inet lost {\n chain through {\n  type filter hook forward priority 0;\n"
        f"  tcp sport {port} drop\n  tcp dport {port} drop\n }}\n}}\n"
    )


def lie(address: str, port: int, own_port: int | None) -> str:
    """Return the nft rules of a gateway that redirects connections for an address and port to its own port.

    The gateway drops all other packets to the address, including those of earlier connections. Without
    `own_port` the gateway passes everything through.
    """
    rules = [_no_table("inet lie")]
    if own_port is not None:
        to = f"{'ip6' if ':' in address else 'ip'} daddr {address}"
        rules.append(
            "table inet lie {\n chain answer {\n  type nat hook prerouting priority -100;\n"
            f"  iifname lan {to} tcp dport {port} tcp flags & (syn | ack) == syn redirect to :{own_port}\n }}\n"
            " chain through {\n  type filter hook forward priority 0;\n"
            f"  iifname lan {to} drop\n }}\n}}"
        )
    return "\n".join(rules) + "\n"


def _no_table(name: str) -> str:
    """Return the rules that remove a table, whether it exists or not."""
    return f"add table {name}\ndelete table {name}"
