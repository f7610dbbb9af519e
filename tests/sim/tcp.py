"""True TCP connections of the simulation: they carry bytes or not, and retransmit with back-off."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.sim.net import Flow, Net

BUSY_S = 1.5
RTO_MIN_S = 0.200
RTO_MAX_S = 120.0


class Clock:
    """Virtual time, and what is to happen in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do it then, or now where that is past."""
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do it a while later."""
        self.at(self.now + seconds, do)

    def run_until(self, when: float) -> None:
        """Let everything happen that is due until then."""
        while self._heap and self._heap[0][0] <= when:
            self.now, _, do = heapq.heappop(self._heap)
            do()
        self.now = max(self.now, when)


@dataclass
class Machine:
    """A server: `boot` counts its lives; connections of an earlier life are answered by RST."""

    name: str
    up: bool = True
    boot: int = 0
    nologin_until: float = -1.0
    dropping: bool = False
    accepts_login: bool = True
    busy: bool = False  # acknowledges at once, answers and logs in late


@dataclass
class Connection:
    """One end of a TCP connection, with what is unacknowledged on it."""

    clock: Clock
    net: Net
    flow: Flow
    machine: Machine
    on_answer: Callable[[], None] = lambda: None
    on_reset: Callable[[], None] = lambda: None
    boot: int = 0
    closed: bool = False
    due: float | None = None  # the next retransmission
    acked_at: float = -1.0
    changed_at: float = -1.0  # its true path, last
    signature: object = None
    _rto: float = RTO_MIN_S
    _serial: int = field(default=0)

    def __post_init__(self) -> None:
        self.boot = self.machine.boot
        self.signature = self.net.signature(self.flow)
        self.changed_at = self.clock.now

    def look(self) -> None:
        """Note whether the true path is another one since the last look."""
        now = self.net.signature(self.flow)
        if now != self.signature:
            self.signature, self.changed_at = now, self.clock.now

    @property
    def carries(self) -> bool:
        """Whether a byte that is sent now comes back."""
        same = self.machine.up and self.machine.boot == self.boot
        return not self.closed and same and self.net.carries(self.flow)

    def speaks_within(self, seconds: float) -> bool:
        """Report whether it would deliver a byte within that time, the world staying as it is."""
        same = self.machine.up and self.machine.boot == self.boot and not self.closed
        soon = self.due is None or self.due < self.clock.now + seconds
        return same and soon and self.net.carries(self.flow, soon=True)

    def send(self) -> None:
        """Send a byte; behind what waits for its retransmission, if something does."""
        if self.due is None:
            self._rto = max(RTO_MIN_S, 2 * self.net.rtt_s)
            self._transmit()

    def _transmit(self) -> None:
        if self.closed:
            return
        self._serial += 1
        serial = self._serial
        self.due = self.clock.now + self._rto
        self._rto = min(self._rto * 2, RTO_MAX_S)
        self.clock.at(self.due, lambda: self._retransmit(serial))
        reborn = self.machine.up and self.machine.boot != self.boot and self.net.carries(self.flow)
        if self.carries:
            self.clock.after(self.net.rtt_s, self._acknowledged)
        elif reborn or self.net.resets(self.flow):
            self.clock.after(self.net.rtt_s, self._reset)

    def _retransmit(self, serial: int) -> None:
        if self._serial == serial and self.due is not None:
            self._transmit()

    def _acknowledged(self) -> None:
        if not self.carries:
            return
        self.due = None
        self.acked_at = self.clock.now
        self.clock.after(BUSY_S if self.machine.busy else 0.0, self._answered)

    def _answered(self) -> None:
        if self.carries:
            self.on_answer()

    def _reset(self) -> None:
        if not self.closed:
            self.closed = True
            self.on_reset()
