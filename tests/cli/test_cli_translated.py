"""The commands speak the language of the environment, and programs always get English."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_an_error_of_the_configuration_is_german_for_a_german(run: Run, tmp_path: Path) -> None:
    """The file and the key stay, and what is wrong with a value and how to fix it are German."""
    config = tmp_path / "config.toml"
    wrong = {
        "[agent]\nadopt = 1": "agent.adopt: erwartet wird true oder false, angegeben ist eine ganze Zahl",
        '[hosts."a b"]': "hosts.\"a b\": ein Hostname kann ' ' nicht enthalten",
        '[hosts.web]\nlocal = ["8080:x:99999"]': "hat den Port 99999; Ports gehen von 1 bis 65535; ssh -L nimmt",
        '[agent]\nnotify = "al"': 'Möglich sind "all", "problems", "none". Meinten Sie "all"?',
        "[agent": "config.toml: Zeile 1, Spalte 7: ",
    }
    for text, words in wrong.items():
        config.write_text(text)
        assert words in run("run", "--config", str(config), **GERMAN).stderr


def test_the_help_is_german_for_a_german(run: Run) -> None:
    """`--help` and a mistake on the command line are German. The options and the shape of JSON stay."""
    whole = " ".join(run("--help", **GERMAN).stdout.split())
    assert whole.startswith("Aufruf: trayagent [-h]")
    assert "Optionen: -h, --help diese Hilfe zeigen" in whole
    assert "doctor melden, was nicht geht, und wie man es behebt" in whole
    assert whole.endswith("4 es läuft ein anderer Agent.")
    one = " ".join(run("doctor", "--help", **GERMAN).stdout.split())
    assert 'Die Form von --json: {"schema": 1,' in one
    wrong = run("login", **GERMAN)
    assert wrong.stderr.splitlines()[-1] == "trayagent login: Fehler: diese Argumente fehlen: HOST"
    assert wrong.returncode == 2


def test_doctor_is_german_for_a_german(run: Run) -> None:
    """The findings and the headline are German; the commands to type stay. JSON is English."""
    words = run("doctor", **GERMAN).stdout
    assert " Hinweise" in words
    assert "Es läuft kein Agent\n    Er hält Ihre Verbindungen nur, solange er läuft." in words
    assert "        trayagent run\n" in words
    titles = [one["title"] for one in json.loads(run("doctor", "--json", **GERMAN).stdout)["findings"]]
    assert "No agent is running" in titles


def test_init_is_german_for_a_german(run: Run, tmp_path: Path) -> None:
    """`init` reports in German what it left out and why. The configuration is English."""
    config = tmp_path / "ssh_config"
    config.write_text("Host db\n    LocalForward 5432 localhost:5432\nHost web\n")
    done = run("init", TRAYAGENT_SSH_CONFIG=str(config), HOME=str(tmp_path), **GERMAN)
    assert 'connect = "on-use"  # reconnect it if it was up' in done.stdout
    assert "Nicht eingetragen: 1 weiterer Host aus ssh_config." in done.stderr
    assert "Nichts wurde geschrieben: init braucht ein Terminal, um Sie zu fragen." in done.stderr
