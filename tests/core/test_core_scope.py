from __future__ import annotations

import pytest

from trayagent.core.facts.hosts import Hop, Host
from trayagent.core.facts.network import Address, Interface, Lookup, Route, Snapshot
from trayagent.core.usable_routes import usable_route

LINK_LOCAL, OWN = "fe80::2", "2001:db8:1::2"


def seen(peer: str, source: str) -> Snapshot:
    """Return a snapshot in which the kernel would send to the peer from that source."""
    own = tuple(Address(ip, 64, link_local=ip == LINK_LOCAL) for ip in (LINK_LOCAL, OWN))
    route = Route("::/0", "wlan0", "2001:db8:1::1", source)
    return Snapshot((Interface(2, "wlan0", "physical", True, own),), (route,), {Lookup(peer): route})


@pytest.mark.parametrize(
    ("peer", "source", "usable"),
    [
        ("2001:db8:113::10", OWN, True),
        ("2001:db8:113::10", LINK_LOCAL, False),  # the interface's global addresses are still tentative
        ("fe80::9", LINK_LOCAL, True),
    ],
)
def test_a_route_whose_answers_cannot_come_back_is_unusable(peer: str, source: str, usable: bool) -> None:
    """A route from a link-local address is usable only for link-local peers."""
    host = Host("web", hop=Hop(peer, 22))
    assert (usable_route(host, seen(peer, source)) is not None) is usable
