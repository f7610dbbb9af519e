"""The commands speak the language of the environment, and programs always get English."""

from __future__ import annotations

import json

from tests.cli.conftest import FakeAgent, Run, host

GERMAN = {"LC_ALL": "de_DE.UTF-8"}
REFUSED = {"code": "auth-denied", "title": "db refused the login", "hint": "Log in: trayagent login db"}


def test_status_and_why_are_german_for_a_german(run: Run, agent: FakeAgent) -> None:
    """The command's own words and the agent's sentences are German, with the values in place. JSON is English."""
    agent.view["hosts"] = [host("db", "needs-sign-in", problem=REFUSED), host("web", "connected", pid=7)]
    words = run("status", **GERMAN).stdout
    assert "1 von 2 verbunden" in words
    assert "braucht Anmeldung  seit " in words
    assert "db lehnte die Anmeldung ab" in words
    assert "Anmelden: trayagent login db" in words
    assert json.loads(run("status", "--json", **GERMAN).stdout)["hosts"][0]["problem"] == REFUSED
    pairs = [["pid", "7"], ["took_ms", "900.0"], ["no_network_ms", "20000.0"]]
    agent.decisions = [
        {"at": "2026-01-01T08:00:01Z", "row": 0, "verdict": "connected", "evidence": "pid=7", "pairs": pairs}
    ]
    assert (
        "verbunden: eine neue Verbindung ist da (20 s lang kein Netz, dann zurück nach 900 ms)"
        in run("why", "web", **GERMAN).stdout
    )


def test_an_error_is_german_for_a_german(run: Run) -> None:
    """The title and the hint of an error are translated, and the exit status is the same."""
    done = run("status", **GERMAN)
    assert done.stderr.splitlines() == ["trayagent: Es läuft kein Agent.", "  So startet er: trayagent run"]
    assert done.returncode == 3
