"""A model of both ends of a roaming connection over links that are cut, lose bytes and overtake each other.

A history is drawn from a seed and played in virtual time, without sockets. Each end has the real Stream and Link.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest.mock import patch

from trayagent.roaming import far_relay_and_resend_buffer as far_relay
from trayagent.roaming import near_session
from trayagent.roaming.far_relay_and_resend_buffer import Budget, FarLink, Link, LinkError, Seal, Stream
from trayagent.roaming.near_session import NearLink, NearPortLink

TOKEN = b"0123456789abcdef.0123456789abcdef0123456789abcdef"
MARKER = b'TRAYAGENT-ROAM {"machine": "m", "boot": "b"}\n'
SEAL = Seal(TOKEN)
SETTLED_STEPS = 4000

# With small sizes, the same number of bytes reaches more edge cases.
SMALL = {"PAYLOAD_MAX": 64, "TAGGED_PAYLOAD_MAX": 32, "EARLY_MAX": 64,
         "WINDOW_START": 192, "WINDOW_MIN": 64, "WINDOW_MAX": 2048,
         "AWAY_MAX": 256, "UNDELIVERED_MAX": 2112, "ACK_EACH": 32, "ACK_EACH_ROOMY": 128, "ROOMY": 512,
         "BURST": 256, "ROOM_MIN": 8, "SMALL": 16, "HELD_MAX": 100}  # fmt: skip

# The data that each end's program sends. The byte at an offset is always the same.
_PATTERNS = {name: Random(name).randbytes(1 << 20) for name in ("near", "far")}  # noqa: S311


@contextmanager
def small_sizes() -> Iterator[None]:
    """Use small windows and frames during the block."""
    sizes: dict[str, Any] = dict(SMALL)
    with patch.multiple(far_relay, **sizes), patch.object(near_session, "EARLY_MAX", SMALL["EARLY_MAX"]):
        yield


class BrokenPromiseError(AssertionError):
    """A history broke a promise of the relays."""


@dataclass
class End:
    """One end: its stream, how many bytes its program still sends, and how many it received."""

    name: str
    stream: Stream
    to_send: int
    received: int = 0
    shut: bool = False
    token: bytes = TOKEN

    def connect(self) -> None:
        """Do nothing, because the connection to sshd always works in this model."""

    def take(self, most: int) -> None:
        """Let the program read some of the received bytes, and check each byte."""
        stream, other = self.stream, "far" if self.name == "near" else "near"
        while stream.undelivered and most > 0:
            data = bytes(stream.undelivered[0][:most])
            if data != _PATTERNS[other][self.received : self.received + len(data)]:
                raise BrokenPromiseError(f"{self.name} received other bytes at {self.received}")
            self.received += len(data)
            most -= len(data)
            stream.took(len(data))
        if stream.peer_closed and not stream.undelivered:
            stream.end_delivered = self.shut = True


@dataclass
class Pipe:
    """One direction of a link: the bytes in flight, and whether the reader can still get them."""

    flying: bytearray = field(default_factory=bytearray)
    buffered: bytes = b""
    open: bool = True
    forged: bool = False


@dataclass
class Carrier:
    """One link: the two ends' halves and the pipes between them. Each end may notice the loss at a different time."""

    near: Link | None
    far: Link | None
    number: int
    up: Pipe = field(default_factory=Pipe)
    down: Pipe = field(default_factory=lambda: Pipe(bytearray(MARKER)))

    @property
    def tagged(self) -> bool:
        """Whether this link is on a TCP port."""
        return any(link is not None and link.seal is not None for link in (self.near, self.far))


class World:
    """The state of a whole history."""

    def __init__(self, random: Random, size: int) -> None:
        budget = Budget()
        self.random = random
        self.now = 100.0
        self.near = End("near", Stream(budget), random.randint(0, size))
        self.far = End("far", Stream(Budget()), random.randint(0, size))
        self.carriers: list[Carrier] = []
        self.errors: list[str] = []
        self.newest = 0  # the counter of the newest attach that the far end accepted
        self.moves = -1  # the attaches that the far end accepted, without the first

    # -- steps ----------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Begin a new link. Give up an earlier link that has not answered yet."""
        for carrier in self.carriers:
            if carrier.near and not carrier.near.live:
                self.lose(carrier, "near")
        relay: Any = self.far
        name = TOKEN[:16].decode()
        if (
            self.near.stream.link is not None and self.random.random() < 0.4
        ):  # later attaches may come by a port
            port = NearPortLink(self.near.stream, name, SEAL, {"machine": "m", "boot": "b"})
            self.carriers.append(Carrier(port, FarLink(relay, SEAL), port.counter, down=Pipe()))
            return
        link = NearLink(self.near.stream, name, TOKEN[17:].decode(), None)
        self.carriers.append(Carrier(link, FarLink(relay), link.counter))

    def lose(self, carrier: Carrier, side: str) -> None:
        """Let one end notice that a link is lost. The other end may still read bytes in flight."""
        link = carrier.near if side == "near" else carrier.far
        if link is None:
            return
        link.lose("cut")
        if side == "near":
            carrier.near = None
            carrier.up.open = False
        else:
            carrier.far = None
            carrier.down.open = False

    def cut(self, carrier: Carrier) -> None:
        """Lose some of the bytes in flight, and all later bytes."""
        for pipe in (carrier.up, carrier.down):
            del pipe.flying[self.random.randint(0, len(pipe.flying)) :]
            pipe.open = False

    def forge(self, carrier: Carrier) -> None:
        """Change a byte in flight on a port, where anyone on the route may do so. That ends at most this link."""
        for pipe in (carrier.up, carrier.down):
            if carrier.tagged and pipe.flying:
                pipe.flying[self.random.randrange(len(pipe.flying))] ^= self.random.randint(1, 255)
                pipe.forged = True

    def send(self, end: End, most: int) -> None:
        """Let a program send some bytes, and the end after its last byte."""
        room = min(end.stream.room(), most)
        if end.stream.closed or (not room and end.to_send):
            return
        size = min(room, end.to_send)
        if size:
            at = end.stream.next
            end.stream.take(_PATTERNS[end.name][at : at + size])
            end.to_send -= size
        if not end.to_send:
            end.stream.take(b"")

    def flush(self, carrier: Carrier, side: str, most: int) -> None:
        """Write some of the data that a link has to send."""
        link, pipe = (carrier.near, carrier.up) if side == "near" else (carrier.far, carrier.down)
        if link is None or link.lost or not link.waiting():
            return
        early = link.at
        bufs = link.gather(self.now)
        if not link.live and link.at - early > far_relay.EARLY_MAX:
            raise BrokenPromiseError("more than the early bytes before the answer")
        data = b"".join(bufs)[:most]
        if pipe.open:
            pipe.flying += data
        link.wrote(bufs, len(data))
        self._check_sizes()

    def carry(self, carrier: Carrier, side: str, most: int) -> None:
        """Deliver some bytes in flight to an end."""
        link, pipe = (carrier.near, carrier.down) if side == "near" else (carrier.far, carrier.up)
        if link is None:
            return
        if not pipe.flying:
            if not pipe.open:
                self.lose(carrier, side)
            return
        data = pipe.buffered + bytes(pipe.flying[:most])
        del pipe.flying[:most]
        end = self.near if side == "near" else self.far
        was_live = link.live
        try:
            used = link.receive(memoryview(bytearray(data)), self.now)
            pipe.buffered = data[used:]
        except LinkError as error:
            if not pipe.forged:
                self.errors.append(str(error))
            self.lose(carrier, side)
        end.stream.settle()
        if link is carrier.far and link.live and not was_live:
            if carrier.number <= self.newest:
                raise BrokenPromiseError(f"attach {carrier.number} displaced {self.newest}")
            self.newest = carrier.number
            self.moves += 1
        self._sweep()

    def consume(self, end: End, most: int) -> None:
        """Let a program read."""
        end.take(most)
        if end.stream.link:
            end.stream.link.delivered(self.now)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and run the timers that are due."""
        self.now += seconds
        for end in (self.near, self.far):
            if end.stream.link:
                end.stream.link.tick(self.now)

    def _sweep(self) -> None:
        for carrier in self.carriers:
            if carrier.near and carrier.near.lost:
                self.lose(carrier, "near")
            if carrier.far and carrier.far.lost:
                self.lose(carrier, "far")
        self.carriers = [one for one in self.carriers if one.near or one.far]

    def _check_sizes(self) -> None:
        for end in (self.near, self.far):
            stream = end.stream
            kept = sum(len(data) for _, data in stream.held)
            if kept > max(far_relay.WINDOW_MAX, far_relay.AWAY_MAX) + far_relay.PAYLOAD_MAX:
                raise BrokenPromiseError(f"{end.name} keeps {kept} bytes")
            if stream.undelivered_size > far_relay.UNDELIVERED_MAX:
                raise BrokenPromiseError(f"{end.name} has {stream.undelivered_size} undelivered bytes")

    # -- a history ------------------------------------------------------------------------------------

    def step(self) -> None:
        """Do one random step."""
        random = self.random
        end, side = random.choice(((self.near, "near"), (self.far, "far")))
        carrier = random.choice(self.carriers) if self.carriers else None
        most = random.choice((1, 7, 40, 100, 1000, 1 << 17))
        what = random.random()
        if what < 0.02 or carrier is None:
            self.attach()
        elif what < 0.03:
            self.cut(carrier)
        elif what < 0.04:
            self.lose(carrier, side)
        elif what < 0.045:
            self.forge(carrier)
        elif what < 0.25:
            self.send(end, most)
        elif what < 0.35:
            self.consume(end, most)
        elif what < 0.40:
            self.pass_time(random.choice((0.001, 0.05, 0.21, 5.0)))
        elif what < 0.70:
            self.flush(carrier, side, most)
        else:
            self.carry(carrier, side, most)

    def settle(self) -> None:
        """Attach once more over a working link, and let all data arrive."""
        self.attach()
        last = self.carriers[-1]
        for _ in range(SETTLED_STEPS):
            before = self._progress()
            for end, side in ((self.near, "near"), (self.far, "far")):
                self.send(end, 1 << 16)
                self.consume(end, 1 << 20)
                self.flush(last, side, 1 << 20)
                self.carry(last, side, 1 << 20)
            for carrier in list(self.carriers):
                for side in ("near", "far"):
                    self.carry(carrier, side, 1 << 20)
            if self.near.stream.done and self.far.stream.done:
                break
            if self._progress() == before:
                self.pass_time(1.0)
        self._check_end()

    def _progress(self) -> tuple[int, ...]:
        return tuple(
            number
            for end in (self.near, self.far)
            for number in (end.stream.base, end.stream.next, end.stream.got, end.received)
        )

    def _check_end(self) -> None:
        for end, other in ((self.near, self.far), (self.far, self.near)):
            if not end.stream.done:
                raise BrokenPromiseError(f"{end.name} is not done: {self._progress()}, {self.errors}")
            if end.received != other.stream.next:
                raise BrokenPromiseError(f"{end.name} received {end.received} of {other.stream.next}")
        unexpected = set(self.errors) - {"older-attach"}
        if unexpected:
            raise BrokenPromiseError(f"honest ends broke the protocol: {unexpected}")


def play(seed: int) -> int:
    """Play the history of a seed. Return how often the connection moved to another link. Raises BrokenPromiseError."""
    random = Random(seed)  # noqa: S311  # the same seed must give the same history
    if seed % 10:
        with small_sizes():
            return _play(World(random, 3000), random.randint(1, 400))
    return _play(World(random, 600_000), random.randint(1, 200))


def _play(world: World, steps: int) -> int:
    world.attach()
    for _ in range(steps):
        world.step()
    world.settle()
    return world.moves
