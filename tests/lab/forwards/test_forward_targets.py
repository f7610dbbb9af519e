"""`doctor` reports open local forwards with an unreachable target; `why` shows forwards that failed to open."""

from __future__ import annotations

import json

from trayagent.sandbox import Agent, Lab

HOST = "web01"


def test_doctor_tests_each_target_and_why_tells_the_failure(lab: Lab, agent: Agent) -> None:
    """`doctor` reports a dead service as advice, a forbidden target as a problem, and a working target not at all."""
    lab.join("home")
    lab.sshd(config=["PermitOpen 127.0.0.1:8000 127.0.0.1:8001"])
    lab.echo(8000)
    lab.ssh_config({HOST: {"HostName": "203.0.113.10"}})
    specs = ("9000:127.0.0.1:8000", "9001:127.0.0.1:8001", "9002:127.0.0.1:8002")
    agent.start(f"[hosts.{HOST}]\nlocal = {json.dumps(specs)}\n")
    agent.wait_forwards(HOST, {"local": "open"})
    found = [
        f for f in json.loads(agent.cli("doctor", "--json").stdout)["findings"] if f["topic"] == "targets"
    ]
    assert [(f["level"], spec) for f in found for spec in specs if spec in f["title"]] == [
        ("advice", specs[1]),
        ("problem", specs[2]),
    ]
    holder = lab.laptop.popen(["ssh", "-N", "-o", "ControlPath=none", "-L", "9003:127.0.0.1:8000", HOST])
    try:
        lab.laptop.check(["sh", "-c", "until ss -Hltn | grep -q ':9003 '; do sleep 0.1; done"])
        agent.configure(f'[hosts.{HOST}]\nlocal = ["9003:127.0.0.1:8000"]\n')
        agent.wait_forwards(HOST, {"local": "failed"})
        said = agent.cli("why", HOST).stdout
        assert "a forward could not be opened" in said
        assert "9003" in said
    finally:
        holder.kill()
        holder.wait()
