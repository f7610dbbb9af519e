"""The ssh sessions beside a master, as `status` shows them."""

from __future__ import annotations

import pytest

from trayagent.presentation.beside import beside_hints, beside_lines


def session(pid: int, terminal: str | None, *, stale: bool, **more: str) -> dict[str, object]:
    return {"pid": pid, "terminal": terminal, "program": "git", "stale": stale, **more}


@pytest.mark.parametrize(
    ("stale", "hint"),
    [
        ((), []),
        ((7,), ['To end it: kill -HUP 7. To let the agent do that: beside = "end" under [agent]']),
        ((7, 8), ['To end them: kill -HUP 7 8. To let the agent do that: beside = "end" under [agent]']),
    ],
)
def test_only_a_session_whose_address_is_gone_has_a_hint(stale: tuple[int, ...], hint: list[str]) -> None:
    """`status` says how to end sessions that hang. A session that may be alive has no such line."""
    host = {"beside": [session(6, "pts/3", stale=False), *(session(pid, None, stale=True) for pid in stale)]}
    (line,) = beside_lines(host)
    assert line.count("(its address is gone)") == len(stale)
    assert [*beside_hints(host)] == hint


def test_the_hint_fits_the_signals_that_each_ssh_ignores_and_what_the_agent_can_prove() -> None:
    """The command ends each ssh as a lost connection would. The setting is not proposed if it is already on."""
    sessions = [
        session(7, None, stale=True, signal="HUP", agent_ends="when-proven"),
        session(8, None, stale=True, signal="KILL", agent_ends="cannot"),
        session(9, None, stale=True, signal="HUP", agent_ends="cannot"),
    ]
    assert [*beside_hints({"beside": sessions})] == [
        "To end it: kill -HUP 7. The agent ends it once its server answers",
        "To end them: kill -KILL 8; kill -HUP 9. The agent cannot prove from this network that they are dead",
    ]
