"""The TCP connections of the simulation, which retransmit with back-off."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from tests.sim.clock import Clock
from tests.sim.net import Flow, Net
from tests.sim.sshd import Machine
from trayagent.core.facts.time_constants import STALLED_RETRANSMISSIONS

RTO_MIN_S = 0.200
RTO_MAX_S = 120.0
# tcp_retries2 = 15: the kernel ends a connection after this time without an acknowledgement
GIVES_UP_S = 924.0
STALLED_S = RTO_MIN_S * (2**STALLED_RETRANSMISSIONS - 1)
JOINS_RTTS = 2
MOVES_MAX = 2  # MPTCP: the server refuses the third join, because RM_ADDR for the dead path was lost


IN_FLIGHT_S = 0.8  # the part of the waiting data that is already sent and fills the line's own queue
BYTES_PER_S = 100_000


class Mark(Struct, frozen=True):
    """A connection's counters at one moment, in bytes: acknowledged, sent, and sent or queued.

    `again` counts retransmissions.
    """

    acked: float
    sent: float
    queued: float
    again: int


class Seen(Struct, frozen=True):
    """What the kernel shows of a connection. If not `known`, the connection is between two addresses, or lost.

    `acked` counts acknowledged bytes since a mark, once data sent after the mark is acknowledged. `ahead` counts
    bytes that were queued at the mark and are still unacknowledged.
    """

    known: bool = True
    acked: int = 0
    ahead: int = 0
    due_in_s: float | None = None
    rtt_s: float | None = None


class Connection:
    """An ssh connection over TCP to the first of its machines, with its unacknowledged data.

    `machines` are the jump hosts in order, then the server. `under` is the connection of the carrier. If it is None,
    this connection has its own TCP connection. `moves`: MPTCP can continue it from another address. `queue_s` is how
    long a byte waits behind the session's own data, while the session sends.
    """

    def __init__(  # the parts of the world, and the connection's properties
        self,
        clock: Clock,
        net: Net,
        flow: Flow,
        machines: tuple[Machine, ...],
        *,
        under: Connection | None = None,
        moves: bool = False,
    ) -> None:
        self.clock, self.net, self.machines, self.under = clock, net, machines, under
        self.on_answer: Callable[[], None] = lambda: None
        self.on_reset: Callable[[], None] = lambda: None
        self.closed = False
        self.muted = False  # the agent keeps the kernel from sending
        self.stuck = False  # the server's session hangs: it acknowledges bytes, but never answers
        self.due: float | None = None  # the time of the next retransmission
        self.queue_s = 0.0
        self.changed_at = clock.now  # the last change of the true path
        self._flow = flow
        self._boots = tuple(machine.boot for machine in machines)
        self._signature = net.signature(flow)
        self.moves = moves
        self._moves_left = MOVES_MAX if moves else 0
        self._rto = RTO_MIN_S
        self._serial = 0
        self._unacked_since = 0.0
        self._asked = False  # a byte was sent whose answer has not arrived
        self._busy_until = -1.0
        self._stalled_s = 0.0  # the queue's length in seconds when the path was lost
        self._flows_since: float | None = None
        self._acked = 0.0
        self._again = 0

    # The true state of the connection.

    @property
    def flow(self) -> Flow:
        """The flow of the TCP connection."""
        return self.under.flow if self.under is not None else self._flow

    @property
    def machine(self) -> Machine:
        """The server at the connection's end."""
        return self.machines[-1]

    @property
    def acknowledges(self) -> bool:
        """Whether the first hop would acknowledge a byte that is sent now."""
        return not self._over and self._same(0) and self._passes()

    @property
    def carries(self) -> bool:
        """Whether a byte that is sent now would be answered."""
        return self.acknowledges and not self.stuck and all(map(self._same, range(len(self.machines))))

    def speaks_within(self, seconds: float) -> bool:
        """Report whether the connection would deliver a byte within that time, if the world did not change."""
        alive = not self._over and not self.stuck and all(map(self._same, range(len(self.machines))))
        soon = self.due is None or self.due < self.clock.now + seconds
        stays = soon and self._passes(soon=True)
        return alive and (stays or self._next_flow() is not None)

    @property
    def idle(self) -> bool:
        """Whether no data waits for an acknowledgement."""
        return self.due is None and self._flows_since is None

    @property
    def stalled(self) -> bool:
        """Whether data was sent several times in vain (STALLED_RETRANSMISSIONS)."""
        waits = self.due is not None and self._flows_since is None
        return waits and self.clock.now - self._unacked_since >= STALLED_S

    def mark(self) -> Mark:
        """Return the counters at this moment."""
        acked, flows = self._acked_now(), self._flows_since is not None
        sent = min(IN_FLIGHT_S, self._queue_s) * BYTES_PER_S if flows else float(self.due is not None)
        queued = self._queue_s * BYTES_PER_S if flows else sent
        return Mark(acked, acked + sent, acked + queued, self._again)

    def seen(self, mark: Mark | None) -> Seen:
        """Return what the kernel shows now, compared with that mark."""
        if self.moves and not self.net.has(self._flow.local):
            return Seen(known=False)
        acked = self._acked_now()
        rtt_s, due = self.net.rtt_s, self.due
        if self._flows_since is not None:  # while the session sends, some data is always in flight
            rtt_s += min(IN_FLIGHT_S, self._queue_s)
            due = self.clock.now + max(RTO_MIN_S, 1.5 * rtt_s)
        due_in_s = None if due is None else max(due - self.clock.now, 0.0)
        if mark is None:
            return Seen(due_in_s=due_in_s, rtt_s=rtt_s)
        later = acked > mark.sent or self._again > mark.again
        since = int(acked - mark.acked) if later else 0
        return Seen(True, since, int(max(mark.queued - acked, 0)), due_in_s, rtt_s)

    @property
    def _queue_s(self) -> float:
        """How long a byte waits now. When the session stops sending, the queue drains."""
        return max(min(self.queue_s, self._busy_until - self.clock.now), 0.0)

    def _acked_now(self) -> float:
        flowing = self.clock.now - self._flows_since if self._flows_since is not None else 0.0
        return self._acked + flowing * BYTES_PER_S

    @property
    def _over(self) -> bool:
        return self.closed or (self.under is not None and self.under.closed)

    def _same(self, hop: int) -> bool:
        machine = self.machines[hop]
        return machine.up and machine.boot == self._boots[hop]

    def _passes(self, *, soon: bool = False) -> bool:
        return not self.muted and self.net.carries(self.flow, soon=soon)

    def _reborn(self, hop: int) -> bool:
        machine = self.machines[hop]
        return machine.up and machine.boot != self._boots[hop]

    # Events of the connection.

    def mute(self, *, muted: bool) -> None:
        """Keep the kernel from sending, or let it send again."""
        if muted != self.muted:
            self.muted, self.changed_at = muted, self.clock.now
            self.look()

    def look(self) -> None:
        """Handle changes since the last call: of the path, or of a machine."""
        now = self.net.signature(self.flow)
        if now != self._signature:
            self._signature, self.changed_at = now, self.clock.now
        if self._over:
            return
        if self._flows_since is not None and not self.acknowledges:
            self._stalled_s = self._queue_s
            self._stop()
            self._arm()
        if self.acknowledges and any(map(self._reborn, range(1, len(self.machines)))):
            # the jump host gets a RST from the rebooted machine, and closes the channel
            self.clock.after(self.net.rtt_s, self._reset)
        way = self._next_flow()
        if way is not None:
            self.clock.after(JOINS_RTTS * self.net.rtt_s, lambda: self._join(way))

    def send(self, *, answered: bool = True) -> None:
        """Send a byte, which the server answers if `answered`. It waits behind data that needs a retransmission."""
        self._asked = self._asked or answered
        if self._flows_since is not None:
            if self._asked:
                self._answer_after(self._queue_s + self.net.rtt_s)
        elif self.due is None:
            self._rto = max(RTO_MIN_S, 2 * self.net.rtt_s)
            self._unacked_since = self.clock.now
            self._transmit()

    def exchange_at_once(self) -> bool:
        """Report whether a byte can be exchanged with the server without any wait, and count it then."""
        if self.due is not None or self._flows_since is not None or self._asked or self.machine.late_s:
            return False
        if not self.carries:
            return False
        self._acked += 1
        return True

    def fill(self, seconds: float, queue_s: float) -> None:
        """Let the session send at full rate for this many seconds."""
        self._busy_until, self.queue_s = self.clock.now + seconds, queue_s
        if self.due is None and self._flows_since is None:
            self._rto = max(RTO_MIN_S, 2 * self.net.rtt_s)
            self._unacked_since = self.clock.now
            self._transmit()

    # TCP.

    def _transmit(self) -> None:
        if self._over:
            return
        self._arm()
        reborn = self._reborn(0) and self._passes()
        if self.acknowledges:
            self.clock.after(self.net.rtt_s, self._acknowledged)
        elif reborn or self.net.resets(self.flow):
            self.clock.after(self.net.rtt_s, self._reset)

    def _arm(self) -> None:
        self._serial += 1
        serial = self._serial
        self.due = self.clock.now + self._rto
        self._rto = min(self._rto * 2, RTO_MAX_S)
        self.clock.at(self.due, lambda: self._retransmit(serial))

    def _retransmit(self, serial: int) -> None:
        if self._serial != serial or self.due is None:
            return
        if self.clock.now - self._unacked_since > GIVES_UP_S:
            self._reset()
        else:
            self._again += 1
            self._transmit()

    def _acknowledged(self) -> None:
        if not self.acknowledges or self.due is None:
            return
        self.due = None
        self._acked += 1
        self._busy_until = max(self._busy_until, self.clock.now + self._stalled_s)
        self._stalled_s = 0.0
        if self._busy_until > self.clock.now:
            self._flows_since = self.clock.now
            serial = self._serial
            self.clock.at(self._busy_until, lambda: self._drained(serial))
            if self._asked:
                self._answer_after(self._queue_s + self.net.rtt_s)
        elif self._asked:
            self._answered()

    def _drained(self, serial: int) -> None:
        if serial != self._serial:
            return
        if self._busy_until > self.clock.now:  # the session sent more meanwhile
            self.clock.at(self._busy_until, lambda: self._drained(serial))
        else:
            self._stop()

    def _stop(self) -> None:
        """Stop the session's own data, because all of it is sent or the path is lost."""
        if self._flows_since is None:
            return
        self._acked = self._acked_now()
        self._flows_since = None
        self._unacked_since = self.clock.now
        self._rto = max(RTO_MIN_S, 2 * self.net.rtt_s)

    def _answer_after(self, seconds: float) -> None:
        serial = self._serial
        self.clock.after(seconds, lambda: self._answered() if serial == self._serial else None)

    def _answered(self) -> None:
        self.clock.after(self.machine.late_s, lambda: self._deliver(RTO_MIN_S))

    def _deliver(self, pause_s: float) -> None:
        """Deliver the server's answer.

        The server retransmits it with its own back-off, which the laptop cannot observe.
        """
        if not self._asked or self._over or self.stuck or not all(map(self._same, range(len(self.machines)))):
            return
        if not self._passes():
            self.clock.after(pause_s, lambda: self._deliver(min(pause_s * 2, RTO_MAX_S)))
            return
        self._asked = False
        self.on_answer()

    def _reset(self) -> None:
        if not self._over:
            self.closed = True
            self.on_reset()

    # MPTCP.

    def _next_flow(self) -> Flow | None:
        """Return the flow to which MPTCP can move the connection, or None if it need not or cannot move."""
        if self._moves_left <= 0 or self._over or self.under is not None or self.net.carries(self._flow):
            return None
        if self.net.has(self._flow.local) or not self._same(0):
            return None
        way = self.net.way(self._flow.peer)
        lied_to = way is not None and way.segment in self.net.liars
        return way if way is not None and not lied_to and self.net.carries(way) else None

    def _join(self, way: Flow) -> None:
        if self._next_flow() != way:
            return
        self._moves_left -= 1
        self._flow = replace(way)
        self._signature, self.changed_at = self.net.signature(way), self.clock.now
        if self.due is not None:
            self._rto = max(RTO_MIN_S, 2 * self.net.rtt_s)
            self._transmit()
