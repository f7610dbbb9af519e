"""A VPN seen by its interface's name."""

from __future__ import annotations

from trayagent.core.network import Address, Interface, Snapshot
from trayagent.net.vpn.interface import up_interface

ADDRESS = (Address("10.8.0.2", 24),)


def test_the_matching_interface_that_is_up_is_found() -> None:
    """A glob over names; what is down or named otherwise is no VPN."""
    tun = Interface(5, "tun0", "vpn", True, ADDRESS)
    seen = Snapshot((Interface(2, "eth0", "physical", True), Interface(4, "tun9", "vpn", False), tun))
    assert up_interface(seen, "tun*") == tun
    assert up_interface(seen, "tun9") is None
    assert up_interface(seen, "TUN*") is None
    assert up_interface(seen, "wg0") is None


def test_of_several_the_one_with_an_address_is_taken() -> None:
    """A second tunnel that is being set up does not hide the first; then the youngest wins."""
    old, new = Interface(5, "tun0", "vpn", True, ADDRESS), Interface(6, "tun1", "vpn", True)
    assert up_interface(Snapshot((old, new)), "tun*") == old
    ready = Interface(6, "tun1", "vpn", True, ADDRESS)
    assert up_interface(Snapshot((ready, old)), "tun*") == ready
