"""Two ends of a link in one process, for tests of the frames between them."""

from __future__ import annotations

from typing import Any

from trayagent.roaming.far_relay_and_resend_buffer import Budget, FarLink, Link, Stream
from trayagent.roaming.near_session import NearLink

NAME, SECRET = "0123456789abcdef", "0123456789abcdef0123456789abcdef"
MARKER = b'TRAYAGENT-ROAM {"machine": "m", "boot": "b"}\n'


class FarStub:
    """A fake far relay whose sshd always answers."""

    token = f"{NAME}.{SECRET}".encode()

    def __init__(self) -> None:
        self.stream = Stream(Budget())

    def connect(self) -> None:
        """Connect to sshd."""

    def link(self) -> FarLink:
        """Return the far half of a new link."""
        relay: Any = self
        return FarLink(relay)


def near_link(stream: Stream, secret: str = SECRET, machine: str | None = None) -> NearLink:
    """Return the near half of a new link."""
    return NearLink(stream, NAME, secret, machine)


def written(link: Link, now: float = 0.0) -> bytes:
    """Return all data that a link has to send, as if it were written immediately."""
    data = b""
    while link.waiting():
        bufs = link.gather(now)
        data += b"".join(bufs)
        link.wrote(bufs, sum(map(len, bufs)))
    return data


def give(link: Link, data: bytes, now: float = 0.0) -> None:
    """Let a link receive whole frames."""
    assert link.receive(memoryview(data), now) == len(data)
    link.stream.settle()


def received(stream: Stream, now: float = 0.0) -> bytes:
    """Return all data that arrived for the inner connection."""
    data = b"".join(bytes(one) for one in stream.undelivered)
    stream.took(len(data))
    if stream.peer_closed:
        stream.end_delivered = True
    if stream.link:
        stream.link.delivered(now)
    return data


def exchange(near: Link, far: Link, now: float = 0.0) -> None:
    """Let both links write and receive until no data is left."""
    while near.waiting() or far.waiting():
        give(far, written(near, now), now)
        give(near, written(far, now), now)


def attached() -> tuple[NearLink, FarLink, FarStub]:
    """Return both halves of a link that is live."""
    relay = FarStub()
    near, far = near_link(Stream(Budget())), relay.link()
    give(near, MARKER)
    exchange(near, far)
    assert near.live and far.live
    return near, far, relay
