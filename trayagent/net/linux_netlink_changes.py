"""Turn the kernel's notifications into hints: one for each burst, at the start of the burst, without a timer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

from trayagent.core.facts.network import Touched
from trayagent.net.hints import Hint, NetworkTouched
from trayagent.net.linux_known_state import Known
from trayagent.netlink import rtquery
from trayagent.netlink.channel import NETLINK_ROUTE, READ_BYTES, Channel
from trayagent.netlink.errors import NetlinkError
from trayagent.netlink.rtnetlink import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_IPV6_RULE,
    RTMGRP_LINK,
)
from trayagent.netlink.wire import messages

# Also watch rules: wg-quick first adds routes to a separate table, and then the rule that activates this table.
GROUPS = (
    RTMGRP_LINK
    | RTMGRP_IPV4_IFADDR
    | RTMGRP_IPV4_ROUTE
    | RTMGRP_IPV4_RULE
    | RTMGRP_IPV6_IFADDR
    | RTMGRP_IPV6_ROUTE
    | RTMGRP_IPV6_RULE
)

# A VPN with thousands of routes must not overflow the queue while Python is busy for some milliseconds.
RECEIVE_BUFFER_BYTES = 1 << 20


class LinuxNetlink:
    """Watches links, addresses, routes and rules; silent while nothing changes.

    Hints are `NetworkTouched`. `start` raises NetlinkError if the kernel refuses the socket.
    """

    def __init__(self, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        self._receive_buffer_bytes = receive_buffer_bytes
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._known = Known()
        self._hint: Callable[[Hint], None] = lambda _: None

    def start(self, hint: Callable[[Hint], None]) -> None:
        """Begin to watch on the running loop."""
        opened = _open(self._receive_buffer_bytes)
        try:
            # Read the state only after the subscription, so that a change in between is reported twice rather than
            # never.
            self._seed()
        except NetlinkError:
            opened.close()
            raise
        self._hint, self._socket = hint, opened
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(opened.fileno(), self._readable)

    def close(self) -> None:
        """Stop watching."""
        if self._socket is None or self._loop is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None

    def _seed(self) -> None:
        with Channel(NETLINK_ROUTE) as channel:
            self._known.seed(rtquery.links(channel), rtquery.addresses(channel), rtquery.routes(channel))

    def _readable(self) -> None:
        touched = self._drain()
        if touched is None:
            return
        if touched.lost:
            with contextlib.suppress(NetlinkError):  # the hint is sent even with an outdated state
                self._seed()
        self._hint(NetworkTouched(touched))

    def _drain(self) -> Touched | None:
        """Process all queued messages. Return what they touched, or None if there was no news."""
        touched: Touched | None = None
        while self._socket is not None:
            try:
                data, _, flags, sender = self._socket.recvmsg(READ_BYTES)
            except BlockingIOError:
                break
            except OSError as e:
                if e.errno != errno.ENOBUFS:
                    raise
                touched = Touched(lost=True) | (touched or Touched())
                continue
            if sender[0] != 0:
                continue  # ignore messages that are not from the kernel
            news = Touched(lost=True) if flags & socket.MSG_TRUNC else self._take(data)
            if news is not None:
                touched = news | (touched or Touched())
        return touched

    def _take(self, data: bytes) -> Touched | None:
        touched: Touched | None = None
        for message in messages(data):
            news = self._known.apply(message)
            if news is not None:
                touched = news | (touched or Touched())
        return touched


def _open(receive_buffer_bytes: int) -> socket.socket:
    try:
        opened = socket.socket(
            socket.AF_NETLINK,  # type: ignore[attr-defined, unused-ignore]  # Linux only
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,  # type: ignore[attr-defined, unused-ignore]  # Linux only
            NETLINK_ROUTE,
        )
    except OSError as e:
        raise NetlinkError("opening a netlink socket", e.errno or 0) from e
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        opened.bind((0, GROUPS))
    except OSError as e:
        opened.close()
        raise NetlinkError("subscribing to the kernel's network changes", e.errno or 0) from e
    return opened
