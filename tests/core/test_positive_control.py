"""Which control counts against a silent master."""

from __future__ import annotations

import pytest

from trayagent.core.facts.attempt import Attempt
from trayagent.core.facts.hosts import Doubt, Host
from trayagent.core.facts.masters import Master
from trayagent.core.policy.staleness.positive_control import is_timely

MASTER = Master(101, 7, "/cm/web", local="192.168.10.2", peer="203.0.113.10")


@pytest.mark.parametrize(
    ("began_at", "source", "gone", "unwanted", "counts"),
    [
        (11.0, "192.168.10.2", False, False, True),
        (10.0, "192.168.10.2", False, False, True),
        (9.0, "192.168.10.2", False, False, False),
        (9.0, "10.20.0.7", False, False, False),
        (9.0, "10.20.0.7", True, False, True),
        (9.0, "192.168.10.2", True, False, False),
        (11.0, "192.168.10.2", False, True, False),
        (9.0, "10.20.0.7", True, True, False),
    ],
)
def test_a_control_counts_if_the_change_did_not_affect_it(
    began_at: float, source: str, gone: bool, unwanted: bool, counts: bool
) -> None:
    """A control must begin after the doubt, or from another address than the lost one. An unwanted one never counts."""
    doubt = Doubt(changed_at=10.0, gone_at=10.0 if gone else None)
    control = Attempt(1, "control", began_at, source=source, unwanted=unwanted)
    assert is_timely(control, Host("web", master=MASTER, doubt=doubt)) == counts
