"""Notifications compared with what is known, where a real kernel is too quick to show it."""

from __future__ import annotations

import struct

from trayagent.core.facts.network import Touched
from trayagent.net.linux_kernel_state import Known
from trayagent.netlink import rtnetlink as rt
from trayagent.netlink.wire import Message, attribute

UP = rt.IFF_UP | rt.IFF_RUNNING | rt.IFF_LOWER_UP


def link(kind: int, *, losses: int = 0, flags: int = UP, name: bytes = b"wlan0", family: int = 0) -> Message:
    """Return a notification about the interface 3."""
    body = struct.pack("=BxHiII", family, 1, 3, flags, 0) + attribute(3, name + b"\0")
    return Message(kind, 0, 0, body + attribute(48, struct.pack("=I", losses)))


def known() -> Known:
    """Return what is known of one interface with carrier."""
    made = Known()
    made.seed([rt.Link(3, "wlan0", UP, 1)], [], [])
    return made


def test_a_scan_is_no_news() -> None:
    """Wi-Fi drivers send NEWLINK while they scan: the same flags, the same carrier."""
    assert known().apply(link(rt.RTM_NEWLINK)) is None
    assert known().apply(link(rt.RTM_NEWLINK, flags=UP | 0x1000)) is None


def test_a_flicker_that_the_kernel_merged_is_counted() -> None:
    """It tells at most once a second; the count of carrier losses shows what was in between."""
    state = known()
    assert state.apply(link(rt.RTM_NEWLINK, losses=1)) == Touched(links=frozenset({"wlan0"}))
    assert state.apply(link(rt.RTM_NEWLINK, losses=1)) is None


def test_a_renamed_link_is_both_names() -> None:
    """What was known under the old name is asked for under the new one."""
    found = known().apply(link(rt.RTM_NEWLINK, name=b"wifi"))
    assert found == Touched(links=frozenset({"wlan0", "wifi"}))


def test_a_bridge_that_talks_of_its_port_is_not_the_port() -> None:
    """Its messages bear the bridge's family: the port neither came nor went."""
    state = known()
    assert state.apply(link(rt.RTM_DELLINK, family=7)) is None
    assert state.apply(link(rt.RTM_NEWLINK, family=7, flags=0)) is None
    assert state.apply(link(rt.RTM_NEWLINK)) is None


def test_other_messages_are_passed_over() -> None:
    """A neighbour or a queueing discipline is none of the watch's business."""
    assert known().apply(Message(rt.RTM_NEWNEIGH, 0, 0, b"")) is None
