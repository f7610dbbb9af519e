"""The combined report of the kernel about several connections of one master."""

from __future__ import annotations

from trayagent.agent.masters.acknowledged_bytes import Acknowledged, next_retransmission_s
from trayagent.ssh.os.tcp_connection import TcpFacts

API, TUNNEL = (1, "10.0.0.2", 4000), (2, "10.0.0.3", 4001)


def facts(acked: int, *, sent: int = 0, queued: int = 0, due_in_s: float | None = None) -> TcpFacts:
    """Return the state of a connection."""
    return TcpFacts(0.05, 0.01, 0.05, 0.3, 0, 0, 0, 0.0, 0.0, acked, 0, sent or acked, 0, queued, due_in_s)


def test_the_acknowledgements_of_all_connections_count() -> None:
    """Acknowledged bytes of all connections count, also after one of them has ended."""
    marks = Acknowledged.at_probe([(API, facts(1000)), (TUNNEL, facts(5000, queued=100))])
    assert marks.since_probe([(API, facts(1000)), (TUNNEL, facts(5000, queued=200))]) == (0, 100)
    assert marks.since_probe([(API, facts(1300)), (TUNNEL, facts(5000, queued=200))]) == (300, 100)
    assert marks.since_probe([(TUNNEL, facts(5200))]) == (500, 0)


def test_a_connection_that_is_new_or_moved_counts_from_its_beginning() -> None:
    """All bytes of a connection that is not in the mark count, because they were sent after the probe."""
    assert Acknowledged().since_probe([(API, facts(1000))]) == (0, 0)
    marks = Acknowledged.at_probe([(API, facts(1000))])
    assert marks.since_probe([((1, "10.9.0.2", 4000), facts(1101))]) == (1100, 0)


def test_a_probe_is_unsent_while_nothing_was_written_and_nothing_waits() -> None:
    """A probe is unsent only if all that was written before it is acknowledged, and nothing was written since."""
    marks = Acknowledged.at_probe([(API, facts(1000)), (TUNNEL, facts(5000, queued=100))])
    assert marks.unsent([(API, facts(1000)), (TUNNEL, facts(5100))])
    assert not marks.unsent([(API, facts(1000)), (TUNNEL, facts(5000, queued=100))])
    assert not marks.unsent([(API, facts(1060)), (TUNNEL, facts(5100))])
    assert not marks.unsent([])
    assert not Acknowledged().unsent([(API, facts(1000))])


def test_the_last_near_retransmission_is_waited_for() -> None:
    """Of several near retransmissions, the last one counts. A far one counts only if no other is due."""
    due = [(API, facts(1, due_in_s=40.0)), (TUNNEL, facts(1, due_in_s=1.5)), (API, facts(1, due_in_s=0.5))]
    assert next_retransmission_s(due) == 1.5
    assert next_retransmission_s(due[:1]) == 40.0
    assert next_retransmission_s([(API, facts(1))]) is None
