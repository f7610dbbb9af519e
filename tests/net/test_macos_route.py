"""The reader of a Mac's routing socket, tested with constructed messages.

No Mac was available. The bytes follow net/route.h, net/if.h and netinet/in.h of macOS, which are the same
for arm64 and x86_64 (no pointer, no long; little-endian).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import pytest

from trayagent.core.facts.network import Touched
from trayagent.net.hints import Hint, NetworkTouched, Woke
from trayagent.net.macos_routing_socket import Known, MacosRoute, messages, suspended_s

NAMES = {1: "lo0", 6: "en0", 12: "utun4"}
DST, GATEWAY, NETMASK, IFP, IFA, BRD = 0x1, 0x2, 0x4, 0x10, 0x20, 0x80
UP, RUNNING, GATEWAY_FLAG, HOST, LLINFO, WASCLONED, STATIC = 0x1, 0x40, 0x2, 0x4, 0x400, 0x20000, 0x800


def sockaddr(ip: str, scope: int = 0) -> bytes:
    """Return a sockaddr_in or sockaddr_in6 of Darwin. A link-local address contains its scope."""
    packed = ip_address(ip).packed
    if len(packed) == 4:
        return struct.pack("=BBH4s8x", 16, 2, 0, packed)
    packed = packed[:2] + struct.pack(">H", scope) + packed[4:] if scope else packed
    return struct.pack("=BBHI16sI", 28, 30, 0, 0, packed, 0)


def link_level(index: int, name: str) -> bytes:
    """Return a sockaddr_dl, whose length is rounded up to a multiple of four."""
    body = struct.pack("=BBHBBBB", 0, 18, index, 6, len(name), 6, 0) + name.encode() + bytes(6)
    body = bytes([len(body)]) + body[1:]
    return body + bytes(-len(body) % 4)


def message(kind: int, body: bytes, version: int = 5) -> bytes:
    """Return a message: its length, version and type before the body."""
    return struct.pack("=HBB", 4 + len(body), version, kind) + body


def link(index: int, flags: int) -> bytes:
    """Return RTM_IFINFO: if_msghdr, with its if_data of 96 bytes left empty."""
    return message(
        0xE, struct.pack("=iiHxx", IFP, flags, index) + bytes(96) + link_level(index, NAMES[index])
    )


def address(kind: int, ip: str, index: int = 6, scope: int = 0) -> bytes:
    """Return RTM_NEWADDR or RTM_DELADDR: ifa_msghdr, then netmask, interface, address and broadcast."""
    mask = bytes(
        [7, 2, 0, 0, 255, 255, 255, 0]
    )  # the kernel cuts off a mask's trailing zeros: 7 bytes, padded to 8
    body = struct.pack("=iiHxxi", NETMASK | IFP | IFA | BRD, 0, index, 0)
    return message(kind, body + mask + link_level(index, NAMES[index]) + sockaddr(ip, scope) + bytes(4))


def route(kind: int, index: int, flags: int, error: int = 0) -> bytes:
    """Return RTM_ADD, RTM_DELETE or RTM_CHANGE: rt_msghdr of 92 bytes, then destination, gateway and an empty mask."""
    head = struct.pack("=Hxxiiiiii", index, flags, DST | GATEWAY | NETMASK, 77, 1, error, 0)
    body = head + struct.pack("=I", 0) + bytes(56)
    assert len(body) == 92 - 4
    return message(kind, body + sockaddr("0.0.0.0") + sockaddr("192.168.10.1") + bytes(4))  # noqa: S104


def known() -> Known:
    """Return a reader that knows the names above."""

    def name_of(index: int) -> str:
        if index not in NAMES:
            raise OSError(6, "Device not configured")
        return NAMES[index]

    return Known(name_of)


def test_a_link_is_touched_only_when_its_state_changed() -> None:
    """A link that goes down or up is touched. Wi-Fi statistics are only a reason to read the network again."""
    reader = known()
    up = link(6, UP | RUNNING | 0x8802)
    assert reader.apply(up) == Touched(links=frozenset({"en0"}))  # the interface was unknown before
    assert reader.apply(up) == Touched()
    assert reader.apply(link(6, UP | 0x8802)) == Touched(links=frozenset({"en0"}))
    assert reader.apply(link(6, UP | RUNNING)) == Touched(links=frozenset({"en0"}))


@pytest.mark.parametrize(
    ("ip", "scope"), [("192.168.10.2", 0), ("2001:db8::7", 0), ("fe80::1cf3:2aff:fe11:9", 6)], ids=str
)
def test_an_address_that_went_is_named(ip: str, scope: int) -> None:
    """The address is found after a shortened mask and an interface's name, without the embedded scope."""
    assert known().apply(address(0xD, ip, scope=scope)) == Touched(addresses=frozenset({ip}))
    assert known().apply(address(0xC, ip, scope=scope)) == Touched()


@pytest.mark.parametrize(
    ("sent", "touched"),
    [
        (route(0x2, 6, UP | GATEWAY_FLAG | STATIC), Touched(routes=frozenset({"en0"}))),
        (route(0x3, 12, UP | STATIC), Touched(routes=frozenset({"utun4"}))),
        (route(0x1, 6, UP | GATEWAY_FLAG | STATIC), Touched()),
        (route(0x2, 99, UP | STATIC), Touched()),
        (route(0x2, 6, UP | HOST | LLINFO), None),
        (route(0x2, 6, UP | HOST | WASCLONED), None),
        (route(0x2, 6, UP | STATIC, error=3), None),
        (route(0x4, 6, UP | STATIC), None),
        (route(0x7, 6, UP), None),
    ],
    ids=[
        "removed",
        "changed",
        "added",
        "of one that is gone",
        "neighbour",
        "cloned",
        "refused",
        "get",
        "miss",
    ],
)
def test_a_route_that_went_is_named(sent: bytes, touched: Touched | None) -> None:
    """A removed route is touched.

    Neighbour entries, cloned routes, failures and other processes' queries are ignored.
    """
    assert known().apply(sent) == touched


def test_unreadable_messages_are_skipped() -> None:
    """A truncated message, one of another version and one too short for its kind are skipped."""
    good = address(0xD, "192.168.10.2")
    assert list(messages(message(0xD, bytes(20), version=4) + good)) == [good]
    assert list(messages(good + good[:30])) == [good]
    assert list(messages(b"\x02\x00\x05\x0e" + good)) == []
    assert [known().apply(message(kind, b"")) for kind in (0x1, 0x2, 0xC, 0xD, 0xE, 0x99)] == [None] * 6
    assert known().apply(message(0xD, struct.pack("=iiHxxi", IFA, 0, 6, 0))) == Touched()


def run(body: Callable[[socket.socket, list[Hint], list[float]], Awaitable[None]]) -> None:
    """Run the body with a watcher whose kernel is the other end of a socket pair, and whose clocks the test sets."""

    async def main() -> None:
        ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        hints: list[Hint] = []
        asleep = [100.0]
        watcher = MacosRoute(lambda: ours, lambda: asleep[-1])
        watcher.start(hints.append)
        try:
            with kernel:
                await body(kernel, hints, asleep)
        finally:
            watcher.close()
            watcher.close()

    asyncio.run(main())


async def until(hints: list[Hint], number: int) -> None:
    """Wait for this many hints."""
    async with asyncio.timeout(20):
        while len(hints) < number:  # noqa: ASYNC110  # a list has no event
            await asyncio.sleep(0.005)


def test_a_burst_is_one_hint() -> None:
    """All queued messages give one hint."""

    async def body(kernel: socket.socket, hints: list[Hint], _: list[float]) -> None:
        for sent in (address(0xD, "192.168.10.2"), address(0xD, "2001:db8::7"), route(0x7, 6, UP)):
            kernel.send(sent)
        await until(hints, 1)
        gone = frozenset({"192.168.10.2", "2001:db8::7"})
        assert hints == [NetworkTouched(Touched(addresses=gone))]

    run(body)


def test_a_wake_comes_before_what_it_changed() -> None:
    """The first message after a sleep shows the wake, because the clocks differ. The wake is reported first."""

    async def body(kernel: socket.socket, hints: list[Hint], asleep: list[float]) -> None:
        asleep.append(100.3)
        kernel.send(address(0xC, "192.168.10.2"))
        await until(hints, 1)
        asleep.append(3700.3)
        kernel.send(address(0xC, "192.168.10.2"))
        await until(hints, 3)
        assert hints == [NetworkTouched(Touched()), Woke(3600.0), NetworkTouched(Touched())]

    run(body)


def test_a_mac_that_refuses_the_socket_is_watched_by_looking() -> None:
    """If the socket cannot be opened (as on Linux), polling replaces it, and the reason is kept."""
    from trayagent.net import choose_sources

    async def body() -> None:
        watch = choose_sources.start_sources(
            choose_sources.choose(choose_sources.Environment("darwin", netlink=False, logind=False)),
            lambda _: None,
        )
        assert [type(source).__name__ for source in watch.sources] == ["Polling"]
        assert len(watch.problems) == 1
        assert watch.problems[0].startswith("macos_route: ")
        assert watch.read().interface("lo") is not None
        watch.close()

    asyncio.run(body())
    assert suspended_s() == 0.0
