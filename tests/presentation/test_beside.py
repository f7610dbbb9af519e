"""The ssh sessions beside a master, as `status` shows them."""

from __future__ import annotations

import pytest

from trayagent.presentation.beside import beside_hints, beside_lines


def session(pid: int, terminal: str | None, *, stale: bool, **more: object) -> dict[str, object]:
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


def test_a_session_that_cannot_be_judged_is_not_shown_as_healthy() -> None:
    """`status` says that nothing shows whether it works, and how to end it. Each other session has its own line."""
    sessions = [
        session(7, None, stale=False, signal="HUP", agent_ends="cannot", unproven=True),
        session(8, "pts/3", stale=True, signal="HUP", agent_ends="when-proven", unproven=False),
    ]
    assert [*beside_lines({"beside": sessions}), *beside_hints({"beside": sessions})] == [
        "2 ssh sessions beside the master: git (nothing shows whether it works), pts/3 git (its address is gone)",
        "If it hangs, end it: kill -HUP 7",
        "To end it: kill -HUP 8. The agent ends it once its server answers",
    ]


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


def test_the_hint_says_why_the_agent_leaves_a_dead_ssh_alone() -> None:
    """It promises no end where the agent may not do it. A suspended ssh ignores every command until it continues."""
    reasons = ("paused", "never", "networks", "vpn", "suspended")
    sessions = [
        session(pid, None, stale=True, agent_ends="cannot", why_not=why) for pid, why in enumerate(reasons, 5)
    ]
    assert [*beside_hints({"beside": sessions})] == [
        "To end it: kill -HUP 5. The agent leaves it alone during the pause",
        'To end it: kill -HUP 6. The agent leaves it alone, because of connect = "never"',
        "To end it: kill -HUP 7. The agent leaves it alone on this network, because of the key networks",
        "To end it: kill -HUP 8. The agent ends it once its VPN is up and its server answers",
        "It is suspended. Once it continues, the agent ends it",
    ]
