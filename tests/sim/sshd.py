"""The servers of the simulation, with sshd's count of connections that have not logged in yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.sim.net import HOME_ONLY, INTERNAL, NODES, OUTER, PUBLIC, TUN, Flow

MAX_STARTUPS = 10
LOGIN_GRACE_S = 120.0
# PerSourcePenalties (OpenSSH 9.8): penalties add up. From 15 s on, sshd refuses the source until they have passed.
AUTH_FAILED_S, NO_AUTH_S, GRACE_EXCEEDED_S = 5.0, 1.0, 20.0
PENALTY_MIN_S, PENALTY_MAX_S = 15.0, 600.0


def key_of(machine: str) -> str:
    """Return the host key of a machine. The nodes of a cluster share one."""
    return "cluster" if machine.startswith("node") else machine


@dataclass
class Machine:
    """A server. `boot` counts its boots. It answers connections from before the last boot with RST."""

    name: str
    up: bool = True
    boot: int = 0
    nologin_until: float = -1.0
    dropping: bool = False
    accepts_login: bool = True
    wordless: bool = False  # refuses each login by closing the connection, as PAM does
    late_s: float = 0.0  # TCP acknowledges at once, but answers and logins come this much later
    max_startups: int = MAX_STARTUPS
    # the end of LoginGraceTime, by connection
    _unauthenticated: dict[int, float] = field(default_factory=dict)
    _ghosts: dict[int, str] = field(default_factory=dict)
    _penalties: dict[str, tuple[float, bool]] = field(default_factory=dict)
    _count: int = 0

    def arrives(self, source: str, now: float) -> int | None:
        """Accept a connection and return its number, or None if sshd closes it at once."""
        self._forget(now)
        until, enforced = self._penalties.get(source, (now, False))
        if self.dropping or len(self._unauthenticated) >= self.max_startups or (enforced and until > now):
            return None
        self._count += 1
        self._unauthenticated[self._count] = now + LOGIN_GRACE_S
        return self._count

    def leaves(self, number: int, source: str, now: float, *, penalty_s: float = 0.0) -> None:
        """Stop counting a connection, because it logged in or ended."""
        if self._unauthenticated.pop(number, None) is not None and penalty_s:
            self._penalize(source, now, penalty_s)

    def haunted_by(self, number: int, source: str) -> None:
        """Record that a connection fell silent without an end. It counts until LoginGraceTime."""
        self._ghosts[number] = source

    def reborn(self) -> None:
        """Boot again, and forget all unfinished connections."""
        self.up, self.boot = True, self.boot + 1
        self._unauthenticated.clear()
        self._ghosts.clear()
        self._penalties.clear()

    def _forget(self, now: float) -> None:
        for number, until in list(self._unauthenticated.items()):
            if until <= now:
                del self._unauthenticated[number]
                source = self._ghosts.pop(number, None)
                if source is not None:
                    self._penalize(source, until, GRACE_EXCEEDED_S)

    def _penalize(self, source: str, now: float, seconds: float) -> None:
        until, enforced = self._penalties.get(source, (now, False))
        still = until > now
        until = min(max(until, now) + seconds, now + PENALTY_MAX_S)
        self._penalties[source] = (until, (enforced and still) or until - now >= PENALTY_MIN_S)


class Machines:
    """The machines, by address and network segment."""

    def __init__(self) -> None:
        self._named: dict[str, Machine] = {}

    def at(self, flow: Flow) -> Machine | None:
        """Return the machine that packets of this flow reach, or None if no machine answers."""
        match flow.peer:
            case address if address == PUBLIC:
                return self.named("web")
            case address if address == OUTER:
                return self.named("outer")
            case address if address in NODES:
                return self.named(f"node{NODES.index(address) + 1}")
            case address if address == HOME_ONLY:
                name = {"home": "home", "twin": "foreign", "twin_nat": "foreign"}.get(flow.segment)
                return self.named(name) if name is not None else None
            case address if address == INTERNAL:
                return self.named("internal") if flow.segment == TUN else None
        return None

    def named(self, name: str) -> Machine:
        """Return the machine of that name. The machine "foreign" accepts no login."""
        known = self._named.get(name)
        if known is None:
            known = self._named[name] = Machine(name, accepts_login=name != "foreign")
        return known

    def servers(self) -> tuple[Machine, ...]:
        """Return all machines except the false ones."""
        return tuple(machine for name, machine in self._named.items() if name not in {"foreign", "liar"})
