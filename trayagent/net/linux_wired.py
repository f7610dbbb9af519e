"""Determine whether an interface is certainly a cable, whose traffic costs nothing.

A phone that shares its connection looks like a network card: as a Wi-Fi, or over USB with one of a few drivers.
"""

from __future__ import annotations

from pathlib import Path

from trayagent.netlink.rtnetlink import Link

_SYS_NET = "/sys/class/net"
_ARPHRD_ETHER = 1
# The drivers of phones and modems (USB tethering). Some docks use cdc_ncm, too, and are not recognized as a cable.
_OF_PHONES = frozenset(
    {"rndis_host", "rndis_wlan", "cdc_ether", "cdc_ncm", "cdc_mbim", "cdc_eem", "huawei_cdc_ncm", "ipheth"}
) | {"qmi_wwan", "sierra_net", "hso", "kalmia", "lg-vl600"}


def is_wired(link: Link) -> bool:
    """Report whether a link is certainly a cable. A bridge, a bond or a VLAN may have a Wi-Fi below."""
    if link.arp_type != _ARPHRD_ETHER:
        return False
    if link.kind:
        return link.kind == "veth"  # the wire of a container
    try:
        driver = Path(f"{_SYS_NET}/{link.name}/device/driver").readlink().name
        kind = Path(f"{_SYS_NET}/{link.name}/uevent").read_text(encoding="ascii")
    except (OSError, UnicodeError):
        return False
    return driver not in _OF_PHONES and "DEVTYPE=" not in kind
