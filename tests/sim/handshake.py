"""A new connection of the simulation: TCP, then key exchange and login at each hop, over the simulated network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct

from tests.sim.clock import Clock
from tests.sim.net import Flow, Net
from tests.sim.sshd import AUTH_FAILED_S, NO_AUTH_S, Machine, Machines, key_of
from tests.sim.tcp import Connection
from trayagent.core.facts.failure import FailureKind

if TYPE_CHECKING:
    from trayagent.core.facts.resolved import HostKeyChecking

CONNECT_S, LOGIN_S = 10.0, 30.0  # ssh's limits for each hop; DEADLINE_S is the agent's limit
DEADLINE_S = 30.0
BANNER_RTTS, KEX_RTTS, LOGIN_RTTS = 1, 5, 3

# Lies of a gateway that answers in a server's place, and forges a disconnect before any key exchange.
FORGES = {"denied", "too many", "going down"}


class Leg(Struct, frozen=True):
    """One hop of a login: the intended server, the account, and the host key check."""

    server: str
    machine: str
    user: str
    strict: HostKeyChecking
    moves: bool = False


def shown_key(machine: str, key_type: str = "ssh-ed25519") -> str | None:
    """Return the proven host key of a machine as ssh logs it, or None if no key was proven."""
    return f"{key_type} SHA256:{key_of(machine)}" if machine else None


@dataclass
class Outcome:
    """The true result of an attempt. `key` is the machine that proved its host key at the last hop, "" if none did."""

    kind: FailureKind | None = None
    at: Leg | None = None
    key: str = ""
    banner: bool = False
    met: bool = False  # a real server saw the attempt
    last: bool = False  # the attempt reached the last hop
    # the accounts that accepted the login, and the times
    let_in: list[tuple[Leg, float]] = field(default_factory=list)


class Handshake:
    """One attempt in progress. It calls `done` once, unless `cut` ends it first."""

    def __init__(  # noqa: PLR0913  # needs the world's parts and the callbacks
        self,
        clock: Clock,
        net: Net,
        machines: Machines,
        peer: str,
        legs: tuple[Leg, ...],
        *,
        bare: bool,
        banner: bool = False,
        through: Connection | None,
        established: Callable[[Flow], None],
        done: Callable[[Outcome, Connection | None], None],
        unfinished: Callable[[Leg], None],
        bound: str | None = None,
    ) -> None:
        self.clock, self.net, self._machines, self._legs = clock, net, machines, legs
        self.outcome = Outcome()
        self.bare, self._banner, self._through = bare, banner, through
        self._established, self._done, self._unfinished = established, done, unfinished
        self._began = clock.now
        self._pause = 0.5
        self._at = 0
        self._stands = False
        self._token = 0  # steps from before the last redial are ignored
        self._peer = peer
        self._over = False
        self._passed: tuple[Machine, ...] = through.machines if through is not None else ()
        self._waits: tuple[Machine, int] | None = None  # a connection that has not logged in yet
        self.flow: Flow | None = through.flow if through is not None else net.way(peer, bound)
        if self.flow is None:
            clock.after(0.005, lambda: self._fail("unreachable"))
        else:
            self._after(net.rtt_s, self._connect)

    def redial(self) -> bool:
        """Start a connection over the current route and return True. If one is already established, return False.

        In this simulation, the older connection is never answered first.
        """
        flow = self.net.way(self._peer)
        if self._over or self._stands or self._through is not None or flow is None:
            return False
        self.flow, self._pause, self._token = flow, 0.5, self._token + 1
        self._after(self.net.rtt_s, self._connect)
        return True

    def expire(self) -> None:
        """End the attempt at the agent's deadline."""
        if not self._over:
            self._time_out()

    def cut(self) -> None:
        """End the attempt from this side. If no packet gets through, the server still counts the connection."""
        if not self._over:
            self._over = True
            self._leave_unfinished()

    # The steps at each hop.

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
                self._through.send()  # the attempt's data also makes the carrier's connection send
            self._again(self._connect, CONNECT_S)
            return
        self._pause = 0.5
        if self._at == 0:
            self._stands = True
            self._established(flow)
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
        rtts = BANNER_RTTS if self._banner else KEX_RTTS
        self.clock.after(self.net.rtt_s * rtts + machine.late_s, self._exchange_keys)

    def _exchange_keys(self) -> None:
        if self._over:
            return
        if not self._met_carries():
            self._again(self._exchange_keys, LOGIN_S)
            return
        if self.bare:
            self._leave()
            self._meet_another("" if self._banner else self._met.name)
            return
        if key_of(self._met.name) != key_of(self._leg.machine) and self._leg.strict != "no":
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
            # The agent's log contains no key exchange with a jump host.
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
        # a server that rebooted meanwhile does not know the connection
        return self._carries() and self._met.up

    # Gateways that lie.

    def _listen_to(self, lie: str) -> None:
        rtt = self.net.rtt_s
        if lie == "silent":
            self.clock.after(CONNECT_S, lambda: self._fail("timed-out"))
        elif lie == "closes":
            self.clock.after(rtt, lambda: self._fail("dropped"))
        elif self.bare:
            self.clock.after(
                2 * rtt, lambda: self._meet_another("" if lie in FORGES or self._banner else "liar")
            )
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
        """End a bare control with an answer: a banner, and perhaps a host key."""
        if not self._over:
            self.outcome.banner, self.outcome.key = True, key
            self._end(None)

    def _enter_trap(self) -> None:
        if self._over or self.flow is None:
            return
        if len(self._legs) > 1:
            self._fail("unreachable")  # the false server accepts the login, but leads to no further hop
            return
        self._end(Connection(self.clock, self.net, self.flow, (self._machines.named("liar"),)))

    # The end of the attempt.

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
        """Leave the server with an unfinished handshake.

        If no packet gets through, the server does not notice the end.
        """
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
