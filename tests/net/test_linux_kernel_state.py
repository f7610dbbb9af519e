"""Notifications are compared with the known state; a real kernel is too quick for these cases."""

from __future__ import annotations

import struct

from trayagent.core.facts.network import Touched
from trayagent.net.linux_known_state import Known
from trayagent.netlink import rtnetlink as rt
from trayagent.netlink.wire import Message, attribute

UP = rt.IFF_UP | rt.IFF_RUNNING | rt.IFF_LOWER_UP


def link(kind: int, *, losses: int = 0, flags: int = UP, name: bytes = b"wlan0", family: int = 0) -> Message:
    """Return a notification about the interface 3."""
    body = rt.IFINFOMSG.pack(family, 1, 3, flags, 0) + attribute(rt.IFLA_IFNAME, name + b"\0")
    body += attribute(rt.IFLA_CARRIER_DOWN_COUNT, struct.pack("=I", losses))
    return Message(kind, 0, 0, body)


def known() -> Known:
    """Return the known state of one interface with carrier."""
    made = Known()
    made.seed([rt.Link(3, "wlan0", UP, 1)], [], [])
    return made


def test_a_scan_is_no_news() -> None:
    """Wi-Fi drivers send NEWLINK while they scan, with the same flags and carrier."""
    assert known().apply(link(rt.RTM_NEWLINK)) is None
    assert known().apply(link(rt.RTM_NEWLINK, flags=UP | 0x1000)) is None


def test_a_flicker_that_the_kernel_merged_is_counted() -> None:
    """The kernel reports at most once a second, but the count of carrier losses shows what happened between."""
    state = known()
    assert state.apply(link(rt.RTM_NEWLINK, losses=1)) == Touched(links=frozenset({"wlan0"}))
    assert state.apply(link(rt.RTM_NEWLINK, losses=1)) is None


def test_a_renamed_link_is_both_names() -> None:
    """Hosts may know the link under either name."""
    found = known().apply(link(rt.RTM_NEWLINK, name=b"wifi"))
    assert found == Touched(links=frozenset({"wlan0", "wifi"}))


def test_a_bridge_that_talks_of_its_port_is_not_the_port() -> None:
    """These messages have the bridge's family: the port neither appeared nor vanished."""
    state = known()
    assert state.apply(link(rt.RTM_DELLINK, family=7)) is None
    assert state.apply(link(rt.RTM_NEWLINK, family=7, flags=0)) is None
    assert state.apply(link(rt.RTM_NEWLINK)) is None


def test_other_messages_are_skipped() -> None:
    """Messages about neighbours or queueing disciplines are ignored."""
    assert known().apply(Message(rt.RTM_NEWNEIGH, 0, 0, b"")) is None
