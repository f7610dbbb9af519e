from __future__ import annotations

import subprocess
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import Metric
from prometheus_client import parser as older
from prometheus_client.openmetrics import parser as openmetrics

if TYPE_CHECKING:
    Run = Callable[..., subprocess.CompletedProcess[str]]
    Agent = Any  # the type is conftest's FakeAgent, but a conftest cannot be imported

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def families(text: str) -> list[Metric]:
    """Parse the text as OpenMetrics. The parser rejects malformed text."""
    return list(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def samples(text: str) -> Samples:
    """Return the samples in the text."""
    return {(s.name, frozenset(s.labels.items())): s.value for f in families(text) for s in f.samples}


def value(found: Samples, name: str, **labels: str) -> float | None:
    """Return the sample with this name and exactly these labels."""
    return found.get((name, frozenset(labels.items())))


def test_the_view_is_valid_openmetrics(run: Run, agent: Agent) -> None:
    """The output is valid OpenMetrics: every family has a type and a description. The values are those of the view."""
    agent.view["hosts"][0] |= {"recoveries": 3, "last_recovery_ms": 412.5}
    done = run("status", "--prometheus")
    assert (done.returncode, done.stderr) == (0, "")
    found = samples(done.stdout)
    assert value(found, "trayagent_up") == 1
    assert value(found, "trayagent_build", version="0.1.0") == 1
    assert value(found, "trayagent_start_timestamp_seconds") == 1767254400
    assert value(found, "trayagent_network_online") == 1
    assert value(found, "trayagent_host_up", host="web01") == 1
    assert value(found, "trayagent_host_up", host="db") == 0
    assert value(found, "trayagent_host_state", host="db", state="failed") == 1
    assert value(found, "trayagent_host_state", host="db", state="connected") == 0
    assert value(found, "trayagent_host_state_since_timestamp_seconds", host="db") == 1767254401
    assert value(found, "trayagent_host_problem", host="db", code="host-key-changed") == 1
    assert value(found, "trayagent_host_problem", host="web01", code="host-key-changed") is None
    assert value(found, "trayagent_host_attempts", host="nas") == 2
    assert value(found, "trayagent_host_recoveries_total", host="web01") == 3
    assert value(found, "trayagent_host_last_recovery_seconds", host="web01") == 0.4125
    assert value(found, "trayagent_host_last_recovery_seconds", host="db") is None
    assert value(found, "trayagent_host_forwards", host="web01", state="open") == 1
    assert value(found, "trayagent_host_forwards", host="web01", state="failed") == 1
    assert value(found, "trayagent_vpn_up", vpn="corp") == 1
    assert value(found, "trayagent_vpn_state", vpn="corp", state="needs-sign-in") == 0
    for family in families(done.stdout):
        assert family.documentation
        assert family.unit == ("seconds" if family.name.endswith("_seconds") else "")


@pytest.mark.parametrize("error", [None, "line 3"])
def test_a_rejected_configuration_is_reported(run: Run, agent: Agent, error: str | None) -> None:
    """A metric reports a rejected configuration, for machines without a visible menu."""
    agent.view["agent"]["config_error"] = error
    found = samples(run("status", "--prometheus").stdout)
    assert value(found, "trayagent_configuration_rejected") == (error is not None)


@pytest.mark.usefixtures("agent")
def test_node_exporters_older_format_reads_it_too(run: Run) -> None:
    """The text has no info or stateset, because the older parser rejects them. Both parsers read the same samples."""
    text = run("status", "--prometheus").stdout
    kinds = {line.split()[3] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert kinds == {"gauge", "counter"}
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in older.text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found == samples(text)


def test_a_hosts_name_cannot_break_the_text(run: Run, agent: Agent) -> None:
    """Quotes, backslashes, newlines and invalid Unicode stay inside their label."""
    odd = 'a"b\\n\\c\nd}\udcff 1'
    host = deepcopy(agent.view["hosts"][0]) | {"name": odd}
    agent.view["hosts"] = [host]
    found = samples(run("status", "--prometheus").stdout)
    assert {dict(labels)["host"] for name, labels in found if name == "trayagent_host_up"} == {
        odd.replace("\udcff", "?")
    }


def test_a_bare_view_is_valid_too(run: Run, agent: Agent) -> None:
    """Without hosts, VPNs or a network only known values are printed."""
    agent.view |= {"hosts": [], "vpns": []}
    agent.view["network"] = {"online": False, "name": None, "default": None, "interfaces": []}
    found = samples(run("status", "--prometheus").stdout)
    assert value(found, "trayagent_network_online") == 0
    assert not [name for name, _ in found if name.startswith(("trayagent_host", "trayagent_vpn"))]


def test_without_an_agent_a_monitor_sees_that(run: Run) -> None:
    """Without an agent the text is still complete and reports that, in addition to exit status 3."""
    done = run("status", "--prometheus")
    assert (done.returncode, samples(done.stdout)) == (3, {("trayagent_up", frozenset()): 0})
    assert "Start it: trayagent run" in done.stderr


@pytest.mark.usefixtures("agent")
def test_one_form_at_a_time(run: Run) -> None:
    """OpenMetrics cannot be combined with JSON or --watch. An unknown host is wrong usage, as in other forms."""
    for words in (["--json"], ["--watch"], ["nowhere"]):
        done = run("status", "--prometheus", *words)
        assert (done.returncode, done.stdout) == (2, ""), words
