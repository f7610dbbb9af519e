"""The comparison of notifications with the known state, in cases for which a real kernel is too fast."""

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
    """A NEWLINK with the same flags and carrier is no change. Wi-Fi drivers send it while they scan."""
    assert known().apply(link(rt.RTM_NEWLINK)) is None
    assert known().apply(link(rt.RTM_NEWLINK, flags=UP | 0x1000)) is None


def test_a_flicker_that_the_kernel_merged_is_counted() -> None:
    """A flicker between two reports is detected by the count of carrier losses.

    The kernel reports at most once a second.
    """
    state = known()
    assert state.apply(link(rt.RTM_NEWLINK, losses=1)) == Touched(links=frozenset({"wlan0"}))
    assert state.apply(link(rt.RTM_NEWLINK, losses=1)) is None


def test_a_renamed_link_is_both_names() -> None:
    """A renamed link counts under both names, because hosts may know either name."""
    found = known().apply(link(rt.RTM_NEWLINK, name=b"wifi"))
    assert found == Touched(links=frozenset({"wlan0", "wifi"}))


def test_a_bridge_that_talks_of_its_port_is_not_the_port() -> None:
    """Messages with the bridge's family are ignored, because the port itself neither appeared nor vanished."""
    state = known()
    assert state.apply(link(rt.RTM_DELLINK, family=7)) is None
    assert state.apply(link(rt.RTM_NEWLINK, family=7, flags=0)) is None
    assert state.apply(link(rt.RTM_NEWLINK)) is None


def test_other_messages_are_skipped() -> None:
    """Messages about neighbours or queueing disciplines are ignored."""
    assert known().apply(Message(rt.RTM_NEWNEIGH, 0, 0, b"")) is None
