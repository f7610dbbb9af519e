"""A new connection of the simulation: TCP, then key exchange and login, over the true network."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.net import HOME_ONLY, INTERNAL, PUBLIC, TUN, Flow, Net
from tests.sim.tcp import BUSY_S, Clock, Connection, Machine
from trayagent.core.failure import FailureKind

CONNECT_S, LOGIN_S = 10.0, 30.0
HANDSHAKE_RTTS, BANNER_RTTS = 8, 1

Failed = Callable[[FailureKind, bool], None]


class Machines:
    """Who answers at an address, seen from a segment."""

    def __init__(self) -> None:
        self.web = Machine("web")
        self.home = Machine("home")
        self.internal = Machine("internal")
        self.foreign = Machine("foreign")

    def at(self, flow: Flow) -> Machine | None:
        """Return the machine that packets of this flow reach, None for silence."""
        match flow.peer:
            case address if address == PUBLIC:
                return self.web
            case address if address == HOME_ONLY:
                return {"home": self.home, "twin": self.foreign, "twin_nat": self.foreign}.get(flow.segment)
            case address if address == INTERNAL:
                return self.internal if flow.segment == TUN else None
        return None


class Handshake:
    """One attempt on its way; exactly one of `ready` and `failed` is called, unless it is cut."""

    def __init__(  # noqa: PLR0913  # what it is made with and whom it tells
        self,
        clock: Clock,
        net: Net,
        machines: Machines,
        peer: str,
        *,
        bare: bool,
        through: Connection | None,
        established: Callable[[str], None],
        ready: Callable[[Connection], None],
        failed: Failed,
        expects: Machine,
    ) -> None:
        self.clock = clock
        self.net = net
        self.cut = False
        self._bare = bare
        self._expects = expects
        self._established, self._ready, self._failed = established, ready, failed
        self._began = clock.now
        self._pause = 0.5
        self._stands = False
        self._peer, self._machines, self._through = peer, machines, through
        self.flow = through.flow if through is not None else net.way(peer)
        self._machine = machines.at(self.flow) if self.flow is not None and through is None else expects
        if self.flow is None:
            clock.after(0.005, lambda: self._fail("unreachable"))
        else:
            clock.after(net.rtt_s, self._connect)

    def redial(self) -> None:
        """Begin a connection over the way of now, unless one stands; the older one is not answered before it."""
        flow = self.net.way(self._peer)
        if self.cut or self._stands or self._through is not None or flow is None:
            return
        self.flow, self._machine = flow, self._machines.at(flow)
        self.clock.after(self.net.rtt_s, self._connect)

    def _connect(self) -> None:
        flow, machine = self.flow, self._machine
        if self.cut or self._stands or flow is None:
            return
        if machine is None or not machine.up or not self.net.carries(flow):
            self._again(self._connect, CONNECT_S)
            return
        if machine.dropping:
            self._fail("dropped")
            return
        self._pause = 0.5
        self._stands = True
        self._established(flow.local)
        self._connection = Connection(self.clock, self.net, flow, machine)
        late = BUSY_S if machine.busy else 0.0
        rtts = BANNER_RTTS if self._bare else HANDSHAKE_RTTS
        self.clock.after(self.net.rtt_s * rtts + late, self._log_in)

    def _log_in(self) -> None:
        if self.cut:
            return
        machine = self._connection.machine
        if not self._connection.carries:
            self._again(self._log_in, LOGIN_S)
        elif self._bare:
            self._ready(self._connection)
        elif machine is not self._expects:
            self._fail("host-key-changed")
        elif self.clock.now < machine.nologin_until or not machine.accepts_login:
            self._fail("auth", positive=True)
        else:
            self._ready(self._connection)

    def _again(self, step: Callable[[], None], limit_s: float) -> None:
        if self.clock.now - self._began > limit_s:
            self._fail("timed-out")
            return
        self.clock.after(self._pause, step)
        self._pause *= 2

    def _fail(self, kind: FailureKind, *, positive: bool = False) -> None:
        if not self.cut:
            self.cut = True
            self._failed(kind, positive)
