"""Counts how many of the bytes that were sent after a probe the server has acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from trayagent.core.facts.time_constants import RETRANSMISSION_NEAR_S
from trayagent.ssh.os.tcp_connection import Flow, TcpFacts, tcp_facts

Connection = tuple[int, str, int]
"""A key for one connection of a process: the socket's inode, the local address and the local port."""


class Mark(Struct, frozen=True):
    """How far a connection was when its master was probed, in bytes since its start.

    `acked`: bytes that the peer acknowledged. `sent`: bytes that were sent at least once. `queued`: bytes up to the end
    of the send queue. `again`: bytes that were retransmitted.
    """

    acked: int = 1
    sent: int = 1
    queued: int = 1
    again: int = 0

    @classmethod
    def of(cls, facts: TcpFacts) -> Mark:
        """Return the mark of a connection in this state. The SYN counts as one byte."""
        sent = facts.bytes_sent - facts.bytes_retrans + 1
        return cls(facts.bytes_acked, sent, facts.bytes_acked + facts.queued, facts.bytes_retrans)

    def acked_since(self, facts: TcpFacts) -> int:
        """Return how many bytes were acknowledged since the mark, 0 unless some of them were sent after it.

        Acknowledgements of older bytes may have been on their way already. A retransmission after the mark counts, too.
        """
        sent_later = facts.bytes_acked > self.sent or facts.bytes_retrans > self.again
        return max(0, facts.bytes_acked - self.acked) if sent_later else 0

    def unsent(self, facts: TcpFacts) -> bool:
        """Report whether nothing was written since the mark, and nothing waits for its acknowledgement."""
        return facts.queued == 0 and facts.bytes_acked == self.queued

    def ahead(self, facts: TcpFacts) -> int:
        """Return how many bytes that were queued before the mark still wait for their acknowledgement."""
        return max(0, self.queued - facts.bytes_acked)


class Acknowledged(Struct):
    """The marks of the last probe on all connections of a master, and the bytes acknowledged on each since then.

    A master has several connections only if its ProxyCommand has several. Any of these may carry the master.
    """

    marks: dict[Connection, Mark] | None = None
    _bytes: dict[Connection, int] = field(default_factory=dict)

    @classmethod
    def at_probe(cls, found: Iterable[tuple[Connection, TcpFacts]]) -> Acknowledged:
        """Return the marks of these connections. Call this when the probe is sent."""
        return cls({connection: Mark.of(facts) for connection, facts in found})

    def since_probe(self, found: Sequence[tuple[Connection, TcpFacts]]) -> tuple[int, int]:
        """Return two counts of bytes: acknowledged since the probe, and queued before it but not yet acknowledged."""
        if self.marks is None:
            return 0, 0
        ahead = 0
        for connection, facts in found:
            # On a new connection, and on one that the kernel moved (MPTCP), every byte was sent after the probe.
            mark = self.marks.setdefault(connection, Mark())
            self._bytes[connection] = mark.acked_since(facts)
            ahead += mark.ahead(facts)
        return sum(self._bytes.values()), ahead

    def unsent(self, found: Sequence[tuple[Connection, TcpFacts]]) -> bool:
        """Report whether the program wrote nothing since the probe. It keeps the probe in its own buffer, then."""
        marks = self.marks or {}
        return bool(found) and all(
            connection in marks and marks[connection].unsent(facts) for connection, facts in found
        )


def connections_of(flow: Flow | None) -> list[tuple[Connection, TcpFacts]]:
    """Return the present connections of a master, and their states."""
    flows = (flow, *flow.others) if flow is not None else ()
    found = (((one.inode, one.local_ip, one.local_port), tcp_facts(one)) for one in flows)
    return [(connection, facts) for connection, facts in found if facts is not None]


def next_retransmission_s(connections: Iterable[tuple[Connection, TcpFacts]]) -> float | None:
    """Return in how many seconds a master's connection retransmits, None if all its data is acknowledged.

    If several connections will retransmit soon, return the time of the last of these.
    """
    due = [facts.retransmit_in_s for _, facts in connections if facts.retransmit_in_s is not None]
    near = [due_in_s for due_in_s in due if due_in_s <= RETRANSMISSION_NEAR_S]
    return max(near, default=min(due, default=None))
