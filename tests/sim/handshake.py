"""A new connection of the simulation: TCP, then key exchange and login at each hop, over the true network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sim.clock import Clock
from tests.sim.net import Flow, Net
from tests.sim.sshd import AUTH_FAILED_S, NO_AUTH_S, Machine, Machines
from tests.sim.tcp import Connection
from trayagent.core.facts.failure import FailureKind

if TYPE_CHECKING:
    from trayagent.core.facts.resolved import HostKeyChecking

CONNECT_S, LOGIN_S = 10.0, 30.0  # of each hop; DEADLINE_S is the agent's own
DEADLINE_S = 30.0
KEX_RTTS, LOGIN_RTTS = 5, 3

# A gateway that answers for a server's address, and sends a disconnect of its own before any key exchange.
FORGES = {"denied", "too many", "going down"}


@dataclass(frozen=True)
class Leg:
    """One hop: whom ssh means to reach, as whom, and how it checks the host key."""

    server: str
    machine: str
    user: str
    strict: HostKeyChecking
    moves: bool = False


def shown_key(machine: str, key_type: str = "ssh-ed25519") -> str | None:
    """Return what ssh itself logged of a proven host key, None where none was."""
    return f"{key_type} SHA256:{machine}" if machine else None


@dataclass
class Outcome:
    """What came of it, in truth: `key` is the host key that was proven at the last hop, "" where none was."""

    kind: FailureKind | None = None
    at: Leg | None = None
    key: str = ""
    banner: bool = False
    met: bool = False  # a real server saw it
    last: bool = False  # it came as far as the server itself
    let_in: list[tuple[Leg, float]] = field(default_factory=list)  # the accounts that let it in, and when


class Handshake:
    """One attempt on its way; `done` is called once, unless it is cut."""

    def __init__(  # noqa: PLR0913  # what it is made with and whom it tells
        self,
        clock: Clock,
        net: Net,
        machines: Machines,
        peer: str,
        legs: tuple[Leg, ...],
        *,
        bare: bool,
        through: Connection | None,
        established: Callable[[str], None],
        done: Callable[[Outcome, Connection | None], None],
        unfinished: Callable[[Leg], None],
    ) -> None:
        self.clock, self.net, self._machines, self._legs = clock, net, machines, legs
        self.outcome = Outcome()
        self._bare, self._through = bare, through
        self._established, self._done, self._unfinished = established, done, unfinished
        self._began = clock.now
        self._pause = 0.5
        self._at = 0
        self._stands = False
        self._token = 0  # what was begun before the last redial is not gone on with
        self._peer = peer
        self._over = False
        self._passed: tuple[Machine, ...] = through.machines if through is not None else ()
        self._waits: tuple[Machine, int] | None = None  # at a door that has not opened yet
        self.flow: Flow | None = through.flow if through is not None else net.way(peer)
        if self.flow is None:
            clock.after(0.005, lambda: self._fail("unreachable"))
        else:
            self._after(net.rtt_s, self._connect)

    def redial(self) -> bool:
        """Begin a connection over the current route and return True, unless one is established already.

        The older connection is not answered before the new one.
        """
        flow = self.net.way(self._peer)
        if self._over or self._stands or self._through is not None or flow is None:
            return False
        self.flow, self._pause, self._token = flow, 0.5, self._token + 1
        self._after(self.net.rtt_s, self._connect)
        return True

    def expire(self) -> None:
        """Let the agent's own deadline end it."""
        if not self._over:
            self._time_out()

    def cut(self) -> None:
        """End it from this side: politely where its packets get through, as a ghost where not."""
        if not self._over:
            self._over = True
            self._leave_unfinished()

    # One hop after the other.

    @property
    def _leg(self) -> Leg:
        return self._legs[self._at]

    def _lie(self) -> str | None:
        first = self._at == 0 and self._through is None and self.flow is not None
        return self.net.liars.get(self.flow.segment) if first and self.flow is not None else None

    def _carries(self) -> bool:
        if self._through is not None:
            return self._through.carries
        return self.flow is not None and self.net.carries(self.flow) and all(m.up for m in self._passed)

    def _connect(self) -> None:
        flow = self.flow
        if self._over or flow is None:
            return
        first = self._at == 0 and self._through is None
        machine = self._machines.at(flow) if first else self._machines.named(self._leg.machine)
        lie = self._lie()
        if not self._carries() or (lie is None and (machine is None or not machine.up)):
            if self._through is not None:
                self._through.send()  # what carries it is asked by this
            self._again(self._connect, CONNECT_S)
            return
        self._pause = 0.5
        if self._at == 0:
            self._stands = True
            self._established(flow.local)
        if lie is not None:
            self._listen_to(lie)
        elif machine is not None:
            self._arrive(machine)

    def _arrive(self, machine: Machine) -> None:
        self.outcome.met = True
        number = machine.arrives(self._source(), self.clock.now)
        if number is None:
            self._fail("dropped")
            return
        self._waits = (machine, number)
        self._met = machine
        self.clock.after(self.net.rtt_s * KEX_RTTS + machine.late_s, self._exchange_keys)

    def _exchange_keys(self) -> None:
        if self._over:
            return
        if not self._met_carries():
            self._again(self._exchange_keys, LOGIN_S)
            return
        if self._bare:
            self._leave()
            self._meet_another(self._met.name)
            return
        if self._met.name != self._leg.machine and self._leg.strict != "no":
            self._left_behind()
            self._fail("host-key-changed")
            return
        if self._at == len(self._legs) - 1:
            self.outcome.key = self._met.name
        self.clock.after(self.net.rtt_s * LOGIN_RTTS, self._log_in)

    def _log_in(self) -> None:
        if self._over:
            return
        machine = self._met
        if not self._met_carries():
            self._again(self._log_in, LOGIN_S)
        elif self.clock.now < machine.nologin_until or not machine.accepts_login:
            self._leave(penalty_s=AUTH_FAILED_S)
            self._fail("auth")
        elif machine.wordless:
            self._leave(penalty_s=AUTH_FAILED_S)
            # Of a jump host's key exchange nothing is logged.
            self._fail("closed" if self._at == len(self._legs) - 1 else "dropped")
        else:
            self._leave()
            self._pass(machine)

    def _pass(self, machine: Machine) -> None:
        self._passed = (*self._passed, machine)
        self.outcome.let_in.append((self._leg, self.clock.now))
        self._at += 1
        if self._at < len(self._legs):
            self._began = self.clock.now
            self.clock.after(self.net.rtt_s, self._connect)
        elif self.flow is not None:
            moves = self._legs[-1].moves and self._through is None
            connection = Connection(
                self.clock, self.net, self.flow, self._passed, under=self._through, moves=moves
            )
            self._end(connection)

    def _met_carries(self) -> bool:
        # One that rebooted meanwhile knows nothing of it.
        return self._carries() and self._met.up

    # Gateways that lie.

    def _listen_to(self, lie: str) -> None:
        rtt = self.net.rtt_s
        if lie == "silent":
            self.clock.after(CONNECT_S, lambda: self._fail("timed-out"))
        elif lie == "closes":
            self.clock.after(rtt, lambda: self._fail("dropped"))
        elif self._bare:
            self.clock.after(2 * rtt, lambda: self._meet_another("" if lie in FORGES else "liar"))
        elif lie in FORGES:
            self.clock.after(2 * rtt, lambda: self._fail("disconnected"))
        elif self._leg.strict != "no":
            self.clock.after(4 * rtt, lambda: self._fail("host-key-changed"))
        else:
            if self._at == len(self._legs) - 1:
                self.outcome.key = "liar"
            accepts = lie == "key in"
            self.clock.after(8 * rtt, lambda: self._enter_trap() if accepts else self._fail("auth"))

    def _meet_another(self, key: str) -> None:
        """A bare control is answered, perhaps with a host key."""
        if not self._over:
            self.outcome.banner, self.outcome.key = True, key
            self._end(None)

    def _enter_trap(self) -> None:
        if self._over or self.flow is None:
            return
        if len(self._legs) > 1:
            self._fail("unreachable")  # it takes us in, and leads nowhere
            return
        self._end(Connection(self.clock, self.net, self.flow, (self._machines.named("liar"),)))

    # Its end.

    def _again(self, step: Callable[[], None], limit_s: float) -> None:
        if self.clock.now - self._began > limit_s:
            self._time_out()
            return
        self._after(self._pause, step)
        self._pause *= 2

    def _after(self, seconds: float, step: Callable[[], None]) -> None:
        token = self._token
        self.clock.after(seconds, lambda: step() if token == self._token else None)

    def _time_out(self) -> None:
        self._leave_unfinished()
        self._fail("timed-out")

    def _leave_unfinished(self) -> None:
        if self._waits is not None:
            self._unfinished(self._leg)
        self._left_behind()

    def _fail(self, kind: FailureKind) -> None:
        if not self._over:
            self.outcome.kind, self.outcome.at = kind, self._leg
            self.outcome.last = self._at == len(self._legs) - 1
            self._end(None)

    def _end(self, connection: Connection | None) -> None:
        self._over = True
        self._done(self.outcome, connection)

    def _leave(self, *, penalty_s: float = 0.0) -> None:
        if self._waits is not None:
            machine, number = self._waits
            machine.leaves(number, self._source(), self.clock.now, penalty_s=penalty_s)
            self._waits = None

    def _left_behind(self) -> None:
        """The server never learns what became of this one, or is left in the middle of it."""
        if self._waits is None:
            return
        machine, number = self._waits
        if self._carries():
            self._leave(penalty_s=NO_AUTH_S)
        else:
            machine.haunted_by(number, self._source())
            self._waits = None

    def _source(self) -> str:
        if self._passed:
            return self._passed[-1].name
        return self.flow.segment if self.flow is not None else ""
