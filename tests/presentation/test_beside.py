"""The ssh sessions beside a master, as `status` shows them."""

from __future__ import annotations

import pytest

from trayagent.presentation.beside import beside_hints, beside_lines


def session(pid: int, terminal: str | None, *, stale: bool) -> dict[str, object]:
    return {"pid": pid, "terminal": terminal, "program": "git", "stale": stale}


@pytest.mark.parametrize(
    ("stale", "hint"),
    [
        ((), []),
        ((7,), ['To end it: kill 7. To let the agent do that: beside = "end" under [agent]']),
        ((7, 8), ['To end them: kill 7 8. To let the agent do that: beside = "end" under [agent]']),
    ],
)
def test_only_a_session_whose_address_is_gone_has_a_hint(stale: tuple[int, ...], hint: list[str]) -> None:
    """`status` says how to end sessions that hang. A session that may be alive has no such line."""
    host = {"beside": [session(6, "pts/3", stale=False), *(session(pid, None, stale=True) for pid in stale)]}
    (line,) = beside_lines(host)
    assert line.count("(its address is gone)") == len(stale)
    assert [*beside_hints(host)] == hint
