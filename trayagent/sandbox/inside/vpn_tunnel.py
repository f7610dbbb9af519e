"""An unencrypted VPN: one tun device whose packets travel in UDP.

Usage: vpn_tunnel.py client SERVER PORT   (in the laptop; roams as WireGuard does)
       vpn_tunnel.py server ADDRESS PORT  (on the server)

Prints one JSON line: {} once the device `tun0` is there, or {"errno", "error"}. The server obeys JSON lines
on stdin. {"client": ADDRESS} sets the only inner address that it serves. It drops packets from or to any
other address, as a VPN does after it has given out a new lease. {"drop": true} makes it drop every packet,
like a server that died silently. Both end at the end of stdin.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
DEVICE = "tun0"
PACKET_MAX = 65535


def open_tun() -> int:
    """Create the device and return its descriptor. Raises OSError (no /dev/net/tun, or not allowed)."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def inner(packet: bytes) -> tuple[str, str]:
    """Return source and destination of an IPv4 packet, ("", "") for anything else."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return "", ""
    return socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])


class Client:
    """The laptop's end: it sends every packet to the server, by the laptop's current route."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)  # type: ignore[attr-defined, unused-ignore]  # Linux only
        self.server = server

    def out(self, packet: bytes) -> None:
        """Carry a packet of the device."""
        with contextlib.suppress(OSError):  # without a route the packet is lost, as on a wire
            self.udp.sendto(packet, self.server)

    def back(self, packet: bytes, sender: tuple[str, int]) -> bool:
        """Report whether a packet from the wire is for the device."""
        return bool(packet) and sender == self.server

    def obey(self, order: dict[str, object]) -> None:
        """Ignore an order, because the client has no orders."""


class Server:
    """The server's end: it serves one inner address, at the outer address from which the last packet came."""

    def __init__(self, place: tuple[str, int]) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)  # type: ignore[attr-defined, unused-ignore]  # Linux only
        self.udp.bind(place)
        self.client: object = None
        self.drop = False
        self.heard_from: tuple[str, int] | None = None

    def out(self, packet: bytes) -> None:
        """Carry a packet of the device."""
        if self.heard_from and not self.drop and inner(packet)[1] == self.client:
            with contextlib.suppress(OSError):
                self.udp.sendto(packet, self.heard_from)

    def back(self, packet: bytes, sender: tuple[str, int]) -> bool:
        """Report whether a packet from the wire is for the device."""
        if self.drop or inner(packet)[0] != self.client:
            return False
        self.heard_from = sender
        return True

    def obey(self, order: dict[str, object]) -> None:
        """Apply an order."""
        if "client" in order:
            self.client = order["client"]
        self.drop = bool(order.get("drop", self.drop))


def carry(tun: int, end: Client | Server) -> None:
    """Carry packets and obey orders until stdin ends."""
    orders = b""
    while True:
        waiting: list[int | socket.socket] = [0, tun, end.udp]
        ready, _, _ = select.select(waiting, [], [])
        if tun in ready:
            with contextlib.suppress(BlockingIOError):
                end.out(os.read(tun, PACKET_MAX))
        if end.udp in ready:
            with contextlib.suppress(OSError):
                packet, sender = end.udp.recvfrom(PACKET_MAX)
                if end.back(packet, sender):
                    os.write(tun, packet)
        if 0 in ready:
            chunk = os.read(0, 4096)
            if not chunk:
                return
            *whole, orders = (orders + chunk).split(b"\n")
            for text in whole:
                end.obey(json.loads(text))
                os.write(1, b"{}\n")


def main() -> None:
    """Open the device and carry packets."""
    role, address, port = sys.argv[1:]
    place = (address, int(port))
    try:
        tun = open_tun()
    except OSError as error:
        os.write(1, json.dumps({"errno": error.errno, "error": str(error)}).encode() + b"\n")
        return
    end = Client(place) if role == "client" else Server(place)
    os.write(1, b"{}\n")
    carry(tun, end)


if __name__ == "__main__":
    main()
