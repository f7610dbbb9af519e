"""The facts of a living master, its path and its probe; frozen data."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import astuple, replace

from trayagent.core.facts.network import Network
from trayagent.core.facts.time_constants import RTT_BOUNDS_S, RTT_UNKNOWN_S


class Master(Struct, frozen=True):
    """A living ssh master, as found.

    `started_by_agent`: an agent of this user started it, according to the records. `local` and `peer` are the ends of
    the TCP connection that carries it, or None if no connection was found. `direct` is false behind a jump host or
    ProxyCommand. `carrier` is the pid of the master that carries this one. `host_key` is the key ("TYPE SHA256:…")
    that its server proved at the login. It is None if it was not recorded, as for masters that no agent started.
    `target` is where the host's name led in ssh_config when the master was made (`Resolved.target`). `program` is the
    name of its program. `other_locals` are the local addresses of further connections of its transport. One of them
    may carry the master. `datagrams`: its transport also holds a UDP socket, leads to another program or cannot be
    read, so its connection may survive the loss of every address. Then `local` and `peer` are None. `lossy`: its login
    had to send packets again. `relayed`: it is the inner master of another host, or of another agent of this user.
    Only that one can judge it. `mptcp`: the agent made its connection by Multipath TCP, and the server speaks it.
    `joins` counts the addresses to which the kernel moved that connection. `prints`: it is the user's ssh in a
    terminal, which shows each forward that the server refuses.
    `bound` is the interface to which its connection is bound, None if its routes decide. `spare`: the agent bound it,
    because it made it as a spare master. `muted` is whether the agent last requested that the kernel send none of its
    packets, None if it requested nothing.
    """

    pid: int
    start_ticks: int
    control_path: str
    started_by_agent: bool = False
    local: str | None = None
    local_port: int = 0
    peer: str | None = None
    peer_port: int = 0
    direct: bool = True
    carrier: int | None = None
    egress: str | None = None
    min_rtt_s: float | None = None
    host_key: str | None = None
    target: str | None = None
    program: str = "ssh"
    other_locals: frozenset[str] = frozenset()
    datagrams: bool = False
    lossy: bool = False
    relayed: bool = False
    prints: bool = False
    mptcp: bool = False
    joins: int = 0
    bound: str | None = None
    spare: bool = False
    muted: bool | None = None

    @property
    def rtt_s(self) -> float:
        """The round-trip time in seconds by which silence is judged."""
        low, high = RTT_BOUNDS_S
        return RTT_UNKNOWN_S if self.min_rtt_s is None else min(max(self.min_rtt_s, low), high)


class MasterPath(Struct, frozen=True):
    """The path of a master. If one of these facts changes, the master is in doubt.

    `present`: the local address is there. While it is missing, the other fields are ignored. `source_differs`: for a
    new connection, the kernel would choose another source. A change of `tentative` puts no master in doubt, but the
    kernel sends nothing from a tentative address. `bearer` is the interface that has the local address. Answers arrive
    through `bearer`, even if packets leave through another interface. In that case `bearer_network` is the network of
    `bearer`, if known. `others` are those of the master's `other_locals` that are present.
    """

    present: bool
    carrier: bool = False
    egress: str | None = None
    prefix: str | None = None
    gateway: str | None = None
    source_differs: bool = False
    tentative: bool = False
    bearer: str | None = None
    others: frozenset[str] = frozenset()
    bearer_network: Network | None = None  # the last field is not compared: it may become known later

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MasterPath) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    @property
    def _compared(self) -> tuple[object, ...]:
        return astuple(self)[:-1]


class PathHere(Struct, frozen=True):
    """A master's path with its network. The same addresses in another network are another path."""

    path: MasterPath
    network: Network | None = None

    def same(self, other: PathHere) -> bool:
        """Report whether both are the same path in the same network.

        Ignore `source_differs` and `tentative`.
        """
        if replace(self.path, tentative=False, source_differs=False) != replace(
            other.path, tentative=False, source_differs=False
        ):
            return False
        return not _differ(self.network, other.network) and not _differ(
            self.path.bearer_network, other.path.bearer_network
        )

    def certainly_same(self, other: PathHere) -> bool:
        """Report whether both are the same path, and no fact of the network is known for only one of them."""
        return self.same(other) and not _differ_in_knowledge(self.network, other.network)


class Probe(Struct, frozen=True):
    """A probe on its way through the old connection. There is at most one at a time.

    `again_at` is when the agent, without an answer, sent a second, different probe. `acked` counts the bytes that were
    sent after it and are acknowledged. `moved_at` is when that number last rose. `drained_at` is when everything that
    was queued before the probe was acknowledged.
    `unsent_at` is when the kernel last showed that ssh had sent nothing since the probe.
    """

    sent_at: float
    acked: int = 0
    moved_at: float | None = None
    drained_at: float | None = None
    again_at: float | None = None
    unsent_at: float | None = None


class Observation(Struct, frozen=True):
    """The kernel's report on the old connection: when it will retransmit, and the current round-trip time.

    `adrift`: the kernel shows no connection at all. `stopped`: a process of the connection is suspended. `unused`: no
    program has a session or a forwarded connection on the master. `heard_at`: when data last came from the server.
    `unsent`: since the probe, ssh sent nothing, and nothing waits for an acknowledgement.
    """

    at: float
    retransmit_at: float | None = None
    rtt_s: float | None = None
    adrift: bool = False
    stopped: bool = False
    unused: bool = False
    heard_at: float | None = None
    unsent: bool = False


class KernelMove(Struct, frozen=True):
    """The kernel moved the old connection to another address (MPTCP), and the server has not answered there yet.

    `since` is when the connection lost its address. `sessions` counts the sessions of programs on the master.
    """

    since: float
    sessions: int = 0


class OtherAddress(Struct, frozen=True):
    """Another address of the host's name, which answered a control of a silent master.

    `at` is when it first answered in the current doubt. `renamed`: the name no longer leads to the master's address.
    `replaces`: that address does not answer either, so the next control counts wherever it arrives.
    """

    at: float
    peer: str
    renamed: bool = False
    replaces: bool = False


def _differ(one: Network | None, other: Network | None) -> bool:
    """Report whether both networks are known and certainly differ."""
    return one is not None and other is not None and one.differs(other)


def _differ_in_knowledge(one: Network | None, other: Network | None) -> bool:
    """Report whether only one of both networks is known, so that they may differ."""
    if one is None or other is None:
        return one is not other
    return bool(one.gateway) != bool(other.gateway) and not one.matches(other)
