"""The lines between the gateways and the internet: their delay, bandwidth and losses. At first they have no limits."""

from __future__ import annotations

from trayagent.sandbox import network_map as plan
from trayagent.sandbox.inside_program import Program
from trayagent.sandbox.node import Node

# The kernel's maximum number of segments in a frame. With 1, every frame is one packet, as on a real wire.
_SEGMENTS_PER_FRAME = 65535


class DelayLines:
    """The lines, one per network. In each method, `network` None means all lines."""

    def __init__(self, nodes: dict[str, Node]) -> None:
        self._nodes = nodes
        words = (f"{name}=in-{name}:out-{name}" for name in plan.NETWORKS)
        self._program = Program(nodes["air"], "delay_line", *words, admin=True, greets=False)
        self._narrow: dict[str, set[str]] = {name: set() for name in plan.NETWORKS}

    @property
    def pid(self) -> int:
        """The pid of the process that carries the frames."""
        return self._program.pid

    def ask(self, network: str | None = None, **order: object) -> dict[str, dict[str, int]]:
        """Send an order; return the counters of all lines."""
        return self._program.ask({"line": network, **order})

    def set_bandwidth(self, mbit_s: float | None, network: str | None, queue_bytes: int | None) -> None:
        """Limit each direction to `mbit_s` and the queue in front of it to `queue_bytes`; None removes the limit."""
        self._packets(network, "bandwidth", needed=mbit_s is not None)
        bits_s = None if mbit_s is None else mbit_s * 1e6
        self.ask(network, bits_s=bits_s, queue=queue_bytes)

    def set_largest(self, size: int | None, network: str | None) -> None:
        """Silently drop every IP packet larger than `size` bytes; None removes the limit."""
        self._packets(network, "largest", needed=size is not None)
        self.ask(network, largest=size)

    def _packets(self, network: str | None, why: str, *, needed: bool) -> None:
        """Make the kernel split frames into packets before the line, if a limit depends on the size of packets."""
        for name in [network] if network is not None else plan.NETWORKS:
            reasons = self._narrow[name]
            before = bool(reasons)
            reasons.symmetric_difference_update({why} if needed != (why in reasons) else set())
            if bool(reasons) == before:
                continue
            segments = 1 if reasons else _SEGMENTS_PER_FRAME
            for node, interface in ((self._nodes[name], "wan"), (self._nodes["internet"], name)):
                node.ip(f"link set dev {interface} gso_max_segs {segments}")
