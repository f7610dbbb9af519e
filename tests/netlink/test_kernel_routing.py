"""Queries of the running kernel's links, addresses and routes."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from trayagent.net.linux_interface_kinds import ARPHRD_LOOPBACK
from trayagent.netlink import rtquery
from trayagent.netlink.channel import NETLINK_ROUTE, Channel, works
from trayagent.netlink.errors import NetlinkError, means_no_route
from trayagent.netlink.rtnetlink import RTA_DST, RTM_GETROUTE, RTMSG, RTN_LOCAL
from trayagent.netlink.wire import NLM_F_REQUEST, attribute


@pytest.fixture
def channel() -> Iterator[Channel]:
    """Yield a socket to this kernel's rtnetlink."""
    with Channel(NETLINK_ROUTE) as opened:
        yield opened


def test_loopback_is_there_with_its_address(channel: Channel) -> None:
    """Every namespace has `lo`, and while it is up it has 127.0.0.1."""
    loopback = next(link for link in rtquery.links(channel) if link.name == "lo")
    assert loopback.arp_type == ARPHRD_LOOPBACK
    assert ("127.0.0.1", 8) in {(a.ip, a.prefix_len) for a in rtquery.addresses(channel)}


def test_the_route_to_ourselves_is_local(channel: Channel) -> None:
    """The resolved route to ourselves has a source, and the matched route has a prefix."""
    resolved = rtquery.route_to(channel, "127.0.0.1")
    assert (resolved.kind, resolved.source) == (RTN_LOCAL, "127.0.0.1")
    assert rtquery.route_to(channel, "127.0.0.1", fib_match=True).kind == RTN_LOCAL


def test_no_route_differs_from_a_failure(channel: Channel) -> None:
    """A foreign source address gives no route. An unknown request raises an error."""
    with pytest.raises(NetlinkError) as gone:
        rtquery.route_to(channel, "127.0.0.1", source="198.51.100.77")
    assert means_no_route(gone.value)
    with pytest.raises(NetlinkError) as unknown:
        channel.query(1001, b"\0" * 16)
    assert unknown.value.errno == errno.EOPNOTSUPP
    assert not means_no_route(unknown.value)


def test_a_channel_goes_on_after_a_refusal(channel: Channel) -> None:
    """The answer to one request is never taken for the next one's."""
    for _ in range(3):
        with pytest.raises(NetlinkError):
            rtquery.route_to(channel, "127.0.0.1", source="198.51.100.77")
        assert rtquery.links(channel)


def test_an_unread_answer_is_skipped(channel: Channel) -> None:
    """Sequence numbers distinguish the answers."""
    body = RTMSG.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
    channel._send(RTM_GETROUTE, NLM_F_REQUEST, body + attribute(RTA_DST, bytes([127, 0, 0, 2])))
    assert rtquery.route_to(channel, "127.0.0.1").network == "127.0.0.1"


def test_a_protocol_that_does_not_exist_does_not_work() -> None:
    """The result is False, not an exception."""
    assert works(NETLINK_ROUTE)
    assert not works(31)
