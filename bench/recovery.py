"""Measures the time from an event to the first byte through the forward: of trayagent, a cold ssh and others."""

from __future__ import annotations

import time

from bench.contestants import COLD, Contestant, end, forward_probe
from bench.scenarios import HOST, Scenario
from trayagent.errors import TrayagentError
from trayagent.sandbox import Lab

RTT_MS = 50.0
GIVE_UP_S = 60.0
# Wait until no data is in flight. TCP would retransmit it at growing intervals, and that time says nothing
# about a contestant.
QUIET_S = 1.0


def seconds(contestant: Contestant, scenario: Scenario) -> float | None:
    """Return the seconds from t0 to the first byte, or None if that took longer than GIVE_UP_S."""
    with _prepared_lab(scenario) as lab:
        scenario.prepare(lab)
        remote = scenario.remote
        with (
            contestant.running(lab, HOST, scenario.config, remote=remote),
            forward_probe(lab, remote=remote) as probe,
        ):
            time.sleep(QUIET_S)
            t0 = scenario.happen(lab)
            probe.release()
            try:
                return probe.result(GIVE_UP_S) - t0
            except TrayagentError:
                return None


def cold_seconds(scenario: Scenario) -> float:
    """Return the seconds that a new plain ssh takes on the network after the event."""
    with _prepared_lab(scenario) as lab:
        scenario.prepare(lab)
        if not scenario.kept:
            scenario.happen(lab)
        with forward_probe(lab, remote=scenario.remote) as probe:
            t0 = time.monotonic()
            child = COLD.start(lab, HOST, remote=scenario.remote)
            probe.release()
            try:
                return probe.result(GIVE_UP_S) - t0
            finally:
                end(child)


def _prepared_lab(scenario: Scenario) -> Lab:
    lab = Lab(rtt_ms=RTT_MS)
    try:
        lab.sshd(scenario.address)
        lab.echo(8000, node=lab.laptop if scenario.remote else None)
        lab.ssh_config({HOST: {"HostName": scenario.address, "ControlPath": "~/.ssh/cm-%C"}})
    except BaseException:
        lab.close()
        raise
    return lab
