from __future__ import annotations

import asyncio
from typing import Any

import pytest

from trayagent.config import file_paths as places
from trayagent.doctor import hosts
from trayagent.doctor.context import Case
from trayagent.doctor.findings import Finding
from trayagent.errors import TrayagentError


def said(**facts: Any) -> Finding:
    """Return the one finding about the hosts of a case with these facts."""
    (finding,) = asyncio.run(hosts.check(Case(places.find(), {}, **facts)))
    return finding


@pytest.mark.parametrize(
    ("state", "level", "why"),
    [
        ("connected", "advice", "is connected all the same"),
        ("failed", "problem", "is not connected until this is fixed"),
        ("needs-sign-in", "problem", "is not connected: it waits for you"),
        ("needs-vpn", "advice", "is not connected: it waits for its VPN"),
        ("waiting", "advice", "is not connected"),
    ],
)
def test_what_a_problem_means_is_said_by_the_hosts_state(state: str, level: str, why: str) -> None:
    """Whom it waits for, and whether anything goes on by itself."""
    told = {"code": "unknown", "title": "It is so", "hint": "Mend it."}
    view = {"hosts": [{"name": "box", "state": state, "problem": told, "forwards": []}]}
    finding = said(view=view)
    assert (finding.level, finding.why) == (level, f"box {why}.")


@pytest.mark.parametrize(
    ("names", "title", "why"),
    [
        (["a"], "for a", "Nothing else about it was checked."),
        (["a", "b"], "for 2 hosts, a the first of them", "Nothing else about them was checked."),
    ],
)
def test_hosts_that_were_not_asked_in_time_are_one_finding(names: list[str], title: str, why: str) -> None:
    """With the name to begin with."""
    late = TrayagentError("Too late", code=hosts.LATE)
    finding = said(unresolved=dict.fromkeys(names, late))
    assert (finding.title, finding.why) == (f"ssh -G did not answer in time {title}", why)
