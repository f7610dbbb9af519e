"""The findings about hosts that should roam, on their servers and in ssh_config."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from tests.doctor.patient import Report
from tests.lab.matrix import laboratory, until
from trayagent.config.model import Host
from trayagent.core.facts.resolved import Resolved
from trayagent.doctor.gather_facts import Case
from trayagent.doctor.roaming import RoamingServer, judged, read_answer
from trayagent.doctor.roaming_port import check
from trayagent.doctor.roaming_port import judged as judged_port
from trayagent.sandbox import Agent
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.network_map import SERVER

HALF_A_DAY_S = 43_200.0
CONFIG = """
[agent]
roam = true
[hosts.good]
[hosts.limited]
[hosts.bare]
[hosts.canonical]
[hosts.full]
roam_port = 60031
[hosts.several]
[hosts.plain]
roam = false
[hosts.forwards-only]
probe = "forward"
[hosts.open]
roam_port = 60001
[hosts.blocked]
roam_port = 60011
[hosts.taken]
roam_port = "60021-60022"
"""
TAKES_PORTS = """
import socket, sys, time
taken = [socket.create_server((sys.argv[1], int(port))) for port in sys.argv[2:]]
print("taken", flush=True)
time.sleep(600)
"""
SERVERS = {
    "good": [],
    "limited": [
        "ClientAliveInterval 15",
        "Match Address 198.51.100.0/24",
        "    X11Forwarding no",
        "Match all",
    ],
    "bare": ["SetEnv PATH={bare}"],
    "canonical": [],
    "full": ["SetEnv HOME={full}"],
    "several": [],
    "plain": ["SetEnv PATH={bare}"],
    "forwards-only": ["ForceCommand /bin/true"],
    "open": [],
    "blocked": [],
    "taken": [],
}


@pytest.fixture(scope="module")
def report() -> Iterator[Report]:
    """Connect the hosts, and examine the laptop once."""
    with laboratory() as lab, Agent(lab) as agent:
        lab.join("home")
        bare = lab.files.root / "bare"
        bare.mkdir()
        for name in ("sh", "ps", "tr", "grep", "sed", "cat", "true"):
            (bare / name).symlink_to(tool(name))
        full = lab.files.far_home / "full"
        full.mkdir(mode=0o700)
        lab.server.check(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "lab", str(full)], admin=True)
        with (lab.files.root / "etc/hosts").open("a") as known:
            known.write(f"{SERVER} nodes\n203.0.113.99 nodes\n")
        hosts: dict[str, dict[str, str | int | list[str]]] = {}
        for port, (name, config) in enumerate(SERVERS.items(), 2201):
            lab.sshd(port=port, config=[line.format(bare=bare, full=full) for line in config])
            hosts[name] = {"HostName": SERVER, "Port": port, "ControlPath": "~/.ssh/cm-%C"}
        hosts["canonical"]["CanonicalizeHostname"] = "yes"
        hosts["several"] |= {
            "HostName": "nodes",
            "HostKeyAlias": lab.servers[list(SERVERS).index("several")].known_as,
        }
        lab.ssh_config(hosts)
        lab.lose_connection("home", 60011)
        words = [sys.executable, "-I", "-c", TAKES_PORTS, SERVER, "60021", "60022"]
        taken = lab.server.popen(words, stdout=subprocess.PIPE)
        assert taken.stdout is not None and taken.stdout.readline()
        agent.start(CONFIG)
        for name in hosts:
            agent.wait_state(name, "connected", 60.0)
        until("none is about to roam", lambda: not about_to_roam(agent), 60.0)
        done = agent.cli("doctor", "--json")
        yield Report(done.returncode, json.loads(done.stdout))


def about_to_roam(agent: Agent) -> list[str]:
    """Return the hosts that are to roam, but neither roam yet nor have a reason why not."""
    hosts = [one for one in agent.status()["hosts"] if one["name"] != "plain"]
    return [one["name"] for one in hosts if one["roaming"] is None and one["no_roaming"] is None]


def of(report: Report, host: str) -> dict[str, str]:
    """Return the findings about roaming of a host as code -> title."""
    return {
        f["code"]: f["title"]
        for f in report.findings
        if f["host"] == host and f["topic"].startswith("roaming")
    }


@pytest.mark.lab
def test_each_host_that_is_to_roam_is_examined(report: Report) -> None:
    """A cause that keeps a host from roaming is a problem. One that ends its sessions early is advice."""
    assert of(report, "good") == {"ok": "good: can roam"}
    assert of(report, "plain") == {}
    assert "no python3" in of(report, "bare")["roaming-no-python"]
    assert "CanonicalizeHostname" in of(report, "canonical")["roaming-canonicalize"]
    assert "runs no commands" in of(report, "forwards-only")["roaming-no-shell"]
    limited = of(report, "limited")
    assert limited["roaming-by-address"].endswith("Match Address 198.51.100.0/24")
    assert "45 s" in limited["roaming-client-alive"]
    assert "No space left" in of(report, "full")["roaming-unwritable"]
    several = of(report, "several")["roaming-several-machines"]
    assert "203.0.113.99" in several
    assert SERVER not in several
    titles = [f["title"] for f in report.findings]
    assert "open: port 60001 of its server answers: sessions move without a login" in titles
    # It cannot roam, so a script listened in the place of its far relay.
    assert "full: port 60031 of its server answers: sessions move without a login" in titles
    assert "port 60011 of its server does not answer" in of(report, "blocked")["roaming-port-blocked"]
    assert "60021-60022" in of(report, "taken")["roaming-port-taken"]
    assert {f["level"] for f in report.findings if f["code"] == "roaming-no-python"} == {"problem"}
    assert {f["level"] for f in report.findings if f["code"] == "roaming-by-address"} == {"advice"}


def test_the_port_is_left_to_a_host_that_is_about_to_roam() -> None:
    """Its own far relay may have the port, or may need it now. So no script listens there, and nothing is reported."""
    view = {"name": "web", "state": "connected", "peer": "127.0.0.1:22", "roaming": None, "no_roaming": None}
    host = Host(roam_port="60001")
    direct = Resolved("web", "127.0.0.1", control_path="/nonexistent", plain_connect=True)
    case = SimpleNamespace(
        view={"hosts": [view]},
        wanted=lambda: [("web", host, direct)],
        control_path=lambda _: pytest.fail("asked"),
    )
    assert [*asyncio.run(check(cast("Case", case)))] == []


@pytest.mark.parametrize(
    ("port", "reached", "code", "line"),
    [
        (60001, True, "ok", None),
        (60001, False, "roaming-port-blocked", "ufw allow 60001:60010/tcp"),
        (None, False, "roaming-port-taken", 'roam_port = "60001-60100"'),
    ],
)
def test_each_trouble_with_a_port_has_a_fix(
    port: int | None, reached: bool, code: str, line: str | None
) -> None:
    """A port that a firewall blocks needs a rule, and a range without a free port a wider one."""
    (finding,) = judged_port("web", "60001-60010", port, reached=reached)
    assert finding.code == code
    assert line is None or line in finding.lines


def test_the_answer_of_an_odd_server_is_read() -> None:
    """Unknown lines and versions are skipped, and the first value of an option counts."""
    lines = [
        "python 3 6",
        "by-address from= in ~/.ssh/authorized_keys",
        "sshd ClientAliveInterval=30",
        "noise",
        "",
    ]
    server = read_answer([*lines, "sshd ClientAliveInterval 60", "sshd ClientAliveCountMax 2", "kills"])
    assert (server.python, server.kills) == ((3, 6), True)
    assert server.sshd == {"clientaliveinterval": "30", "clientalivecountmax": "2"}
    assert [f.code for f in judged("web", server, HALF_A_DAY_S)] == [
        "roaming-no-python",
        "roaming-by-address",
        "roaming-processes-end",
        "roaming-client-alive",
    ]
    assert read_answer(["python", "python x y", "sshd"]) == RoamingServer()


@pytest.mark.parametrize(
    ("sshd", "roam_for_s", "found"),
    [
        ({}, HALF_A_DAY_S, False),
        ({"clientaliveinterval": "0"}, HALF_A_DAY_S, False),
        ({"clientaliveinterval": "60"}, HALF_A_DAY_S, True),
        ({"clientaliveinterval": "60"}, 120.0, False),
        ({"clientaliveinterval": "60", "clientalivecountmax": "0"}, HALF_A_DAY_S, False),
        ({"clientaliveinterval": "10m"}, HALF_A_DAY_S, False),
    ],
)
def test_a_server_that_ends_waiting_sessions_is_reported(
    sshd: dict[str, str], roam_for_s: float, found: bool
) -> None:
    """A server is reported if its sshd ends waiting sessions before `roam_for` is over."""
    server = RoamingServer(python=(3, 11), sshd=sshd)
    assert bool([*judged("web", server, roam_for_s)]) is found
