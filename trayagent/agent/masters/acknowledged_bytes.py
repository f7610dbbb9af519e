"""Count what a server acknowledged of the bytes that were sent after a probe, and of no others."""

from __future__ import annotations

from dataclasses import dataclass

from trayagent.ssh.os.tcp_connection import TcpFacts


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a connection was when its master was probed, in bytes since its start.

    `acked`: acknowledged by the peer. `sent`: sent at least once. `queued`: the end of the data that waits to be
    sent. `again`: retransmitted.
    """

    acked: int = 1
    sent: int = 1
    queued: int = 1
    again: int = 0

    @classmethod
    def of(cls, facts: TcpFacts) -> Mark:
        """Return the mark for the present moment; the SYN counts as one byte."""
        sent = facts.bytes_sent - facts.bytes_retrans + 1
        return cls(facts.bytes_acked, sent, facts.bytes_acked + facts.queued, facts.bytes_retrans)

    def acked_since(self, facts: TcpFacts) -> int:
        """Return how many bytes were acknowledged since the mark.

        It stays 0 until, after the mark, one of these bytes was sent or any byte was retransmitted.
        """
        sent_later = facts.bytes_acked > self.sent or facts.bytes_retrans > self.again
        return max(0, facts.bytes_acked - self.acked) if sent_later else 0

    def ahead(self, facts: TcpFacts) -> int:
        """Return how many bytes that were queued before the mark still wait for their acknowledgement."""
        return max(0, self.queued - facts.bytes_acked)
