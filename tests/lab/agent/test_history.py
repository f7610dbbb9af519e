"""`trayagent history` after real outages."""

from __future__ import annotations

import json
import re

from trayagent.sandbox import Agent, Lab

GAP_S = 3.0


def test_an_outage_is_split_into_the_networks_part_and_ours(lab: Lab, agent: Agent) -> None:
    """`history` reports the time without a network separately from the recovery time."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}})
    agent.start("[hosts.web01]\n")
    agent.wait_state("web01", "connected")
    events = agent.events()
    lab.switch("home", "cafe", gap_s=GAP_S)
    events.wait("connected", "web01")
    for host in ((), ("web01",)):
        [outage] = json.loads(agent.cli("history", *host, "--json").stdout)["outages"]
        assert outage["no_network_ms"] >= (GAP_S - 0.5) * 1000
        assert outage["took_ms"] is not None
    assert re.search(r"no network for [\d.]+ m?s +back in ", agent.cli("history").stdout)
    why = " ".join(agent.cli("why", "web01").stdout.split())
    # A client in another language translates what the agent reports in English.
    agent.env["LC_ALL"] = "de_DE.UTF-8"
    assert re.search(r"[\d,]+ m?s lang kein Netz +zurück nach ", agent.cli("history").stdout)
    assert re.search(r"connected: a new connection is in place \(no network for [\d.]+ s, then back in ", why)
