"""Turn the messages of a BSD routing socket into hints: one for each burst, at its start, without a timer.

This module also detects a wake. After a wake, interfaces come up again. By then, the clock that runs during sleep is
ahead of the clock that stops. A wake without any change in the network is not noticed, which does no harm.

Source: route(4), net/route.h, net/if.h, net/if_dl.h of macOS; the same layout on arm64 and x86_64.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, ip_address

from trayagent.core.facts.network import Touched
from trayagent.net.hints import Hint, NetworkTouched, Woke

SHORTEST_SLEEP_S = 0.5  # the scheduler may pause the process between the readings of the two clocks

_AF_ROUTE = 17
_AF_INET, _AF_INET6 = 2, 30  # the numbers on macOS; Linux has another one for IPv6
_READ_BYTES = 65536
_RECEIVE_BUFFER_BYTES = 1 << 18

_VERSION = 5


class _Kind:
    """Values of rtm_type, in a class because `case` needs dotted names."""

    ADD, DELETE, CHANGE = 0x1, 0x2, 0x3
    NEWADDR, DELADDR, IFINFO = 0xC, 0xD, 0xE


# The fields of a message are length, version and type. For routes these follow: interface, padding, flags, addresses,
# process, number, error.
_HEAD = struct.Struct("=HBB")
_ROUTE = struct.Struct("=HBBHxxiiiii")
_ROUTE_BYTES = 92  # the whole message, with the use count, initial values and metrics
_INTERFACE = struct.Struct("=HBBiiH")  # after the head: addresses, flags, index; then comes if_data
_ADDRESS = struct.Struct("=HBBiiHxxi")  # after the head: addresses, flags, index, metric
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
# Ignore routes with these flags, because they come and go automatically: neighbour entries, cloned host routes,
# multicast and broadcast routes.
_UNREACHABLE_FLAGS = 0x400 | 0x20000 | 0x800000 | 0x400000
_RTA_IFA = 0x20


class MacosRoute:
    """Watches links, addresses, routes and wakes; silent while nothing changes. `start` raises OSError."""

    def __init__(
        self, make: Callable[[], socket.socket] | None = None, suspended: Callable[[], float] | None = None
    ) -> None:
        self._make, self._suspended = make or _open, suspended or suspended_s
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._known = Known()
        self._hint: Callable[[Hint], None] = lambda _: None
        self._before_s = 0.0

    def start(self, hint: Callable[[Hint], None]) -> None:
        """Begin to watch on the running loop."""
        self._socket = self._make()
        self._socket.setblocking(False)
        self._hint, self._before_s = hint, self._suspended()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        """Stop watching."""
        if self._socket is None or self._loop is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None

    def _readable(self) -> None:
        touched = self._drain()
        now_s = self._suspended()
        asleep_s, self._before_s = now_s - self._before_s, now_s
        if asleep_s > SHORTEST_SLEEP_S:
            self._hint(Woke(asleep_s))
        if touched is not None:
            self._hint(NetworkTouched(touched))

    def _drain(self) -> Touched | None:
        """Process all queued messages. Return what they touched, or None if there was no news."""
        touched: Touched | None = None
        while self._socket is not None:
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError as e:
                if e.errno != errno.ENOBUFS:
                    raise
                touched = Touched(lost=True) | (touched or Touched())
                continue
            if not data:
                break
            for message in messages(data):
                news = self._known.apply(message)
                if news is not None:
                    touched = news | (touched or Touched())
        return touched


class Known:
    """Tracks which interfaces are up; `name_of` turns an index into a name, or raises OSError."""

    def __init__(self, name_of: Callable[[int], str] = socket.if_indextoname) -> None:
        self._name_of = name_of
        self._state: dict[int, int] = {}

    def apply(self, message: bytes) -> Touched | None:
        """Process one message. Return None if the message is no news, an empty Touched if it only adds an entry."""
        match message[3]:
            case _Kind.IFINFO if len(message) >= _INTERFACE.size:
                return self._link(message)
            case _Kind.NEWADDR if len(message) >= _ADDRESS.size:
                return Touched()
            case _Kind.DELADDR if len(message) >= _ADDRESS.size:
                _, _, _, which, _, _, _ = _ADDRESS.unpack_from(message)
                gone = address_of(message[_ADDRESS.size :], which)
                return Touched(addresses=frozenset({gone} - {""}))
            case _Kind.ADD | _Kind.DELETE | _Kind.CHANGE if len(message) >= _ROUTE_BYTES:
                return self._route(message)
        return None

    def _link(self, message: bytes) -> Touched:
        _, _, _, _, flags, index = _INTERFACE.unpack_from(message)
        state = flags & (_IFF_UP | _IFF_RUNNING)
        before, self._state[index] = self._state.get(index), state
        return Touched() if state == before else Touched(links=self._names(index))

    def _route(self, message: bytes) -> Touched | None:
        _, _, kind, index, flags, _, _, _, error = _ROUTE.unpack_from(message)
        if error or flags & _UNREACHABLE_FLAGS:
            return None  # a request of a process failed, or the route is to be ignored
        return Touched(routes=self._names(index)) if kind != _Kind.ADD else Touched()

    def _names(self, index: int) -> frozenset[str]:
        try:
            return frozenset({self._name_of(index)})
        except OSError:
            return frozenset()  # the interface is gone; the next snapshot shows that


def messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages of one read, until one is truncated. Skip messages of another version."""
    while len(data) >= _HEAD.size:
        length, version, _ = _HEAD.unpack_from(data)
        if not _HEAD.size <= length <= len(data):
            return
        if version == _VERSION:
            yield data[:length]
        data = data[length:]


def address_of(sockaddrs: bytes, which: int) -> str:
    """Return the interface's own address (RTA_IFA) from the addresses at the end of a message, "" without one.

    `which` has an RTA_ bit for each address that is present. An address occupies its length, rounded up to a multiple
    of four bytes. An empty address occupies four bytes.
    """
    bit = 1
    while sockaddrs:
        if which & bit:
            length = sockaddrs[0]
            if bit == _RTA_IFA:
                return _text(sockaddrs[:length])
            sockaddrs = sockaddrs[(length + 3) & ~3 or 4 :]
        bit <<= 1
        if bit > which:
            break
    return ""


def suspended_s() -> float:
    """Return for how many seconds in total this machine has slept since it booted; clock_gettime(3) of macOS."""
    if sys.platform != "darwin":
        return 0.0
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW) - time.clock_gettime(time.CLOCK_UPTIME_RAW)


def _text(sockaddr: bytes) -> str:
    family = sockaddr[1] if len(sockaddr) > 1 else 0
    if family == _AF_INET and len(sockaddr) >= 8:
        return str(ip_address(sockaddr[4:8]))
    if family != _AF_INET6 or len(sockaddr) < 24:
        return ""
    address = IPv6Address(sockaddr[8:24])
    if address.is_link_local:  # the kernel stores the scope in the second group
        address = IPv6Address(address.packed[:2] + bytes(2) + address.packed[4:])
    return str(address)


def _open() -> socket.socket:
    if sys.platform != "darwin":  # on other systems this number means another family
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    opened = socket.socket(_AF_ROUTE, socket.SOCK_RAW, 0)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    except OSError:
        opened.close()
        raise
    return opened
