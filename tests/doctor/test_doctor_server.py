"""One laptop with hosts of many kinds, which the real command examines once."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.doctor.patient import Report, until
from tests.lab.matrix import laboratory
from tests.lab.vpn.test_networkmanager import skipping
from trayagent.config.model import Host
from trayagent.core.facts.resolved import Resolved
from trayagent.doctor.servers import Far, judged, read_answer
from trayagent.sandbox import Agent, Lab, Sshd
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.network_map import SERVER
from trayagent.sandbox.networkmanager import NetworkManager

pytestmark = pytest.mark.lab

CONFIG = """
[hosts.plain]
session = "tmux"
remote = ["9100:localhost:22"]
[hosts.bare]
session = "screen"
[hosts.closed]
local = ["9101:localhost:80"]
[hosts.forced]
[hosts.forced-r]
remote = ["9102:localhost:22"]
probe = "forward"
[hosts.late]
remote = ["9103:localhost:22"]
reap = false
[hosts.denied]
[hosts.stranger]
"""
SERVERS = {
    "plain": ["ClientAliveInterval 15"],
    "bare": ["SetEnv PATH={bare}"],
    "closed": ["AllowTcpForwarding no"],
    "forced": ["ForceCommand /bin/true"],
    "forced-r": ["ForceCommand /bin/true"],
    "late": [],
    "denied": ["AllowUsers nobody-else"],
    "stranger": [],
}
CONNECTED = ("plain", "bare", "closed", "forced", "forced-r", "late")


@dataclass
class Scene:
    """The laptop, its agent and its servers."""

    lab: Lab
    agent: Agent
    servers: dict[str, Sshd]

    def examine(self, **env: str) -> Report:
        """Run `doctor --json` on the laptop."""
        self.agent.env.update(env)
        done = self.agent.cli("doctor", "--json")
        assert done.stderr == ""
        return Report(done.returncode, json.loads(done.stdout))


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Connect every host that can be connected."""
    with laboratory() as lab, Agent(lab) as agent:
        lab.join("home")
        bare = lab.files.root / "bare"
        bare.mkdir()
        for name in ("sh", "ps", "tr", "grep", "sed", "cut", "cat", "true"):
            (bare / name).symlink_to(tool(name))
        servers = {}
        hosts: dict[str, dict[str, str | int | list[str]]] = {}
        for port, (name, config) in enumerate(SERVERS.items(), 2201):
            lines = [line.format(bare=bare) for line in config]
            servers[name] = lab.sshd(port=port, config=lines)
            hosts[name] = {"HostName": SERVER, "Port": port, "ControlPath": "~/.ssh/cm-%C"}
        unnamed = servers["stranger"].known_as
        known = lab.files.known_hosts
        known.write_text("".join(x for x in known.read_text().splitlines(True) if not x.startswith(unnamed)))
        lab.ssh_config(hosts)
        lab.echo(9100, node=lab.server)  # another program holds the port on the server
        agent.start(CONFIG)
        for name in CONNECTED:
            agent.wait_state(name, "connected")
        agent.wait_state("denied", "needs-sign-in")
        agent.wait_state("stranger", "needs-sign-in")
        agent.wait_forwards("plain", {"remote": "failed"})
        yield Scene(lab, agent, servers)


@pytest.fixture(scope="module")
def report(scene: Scene) -> Report:
    """Examine the laptop once."""
    return scene.examine()


def of(report: Report, host: str) -> dict[str, str]:
    """Return the findings about a host as code -> title."""
    return {f["code"]: f["title"] for f in report.findings if f["host"] == host}


def test_no_check_breaks_or_comes_late(report: Report) -> None:
    """With eight hosts and an agent, no check fails or takes too long."""
    assert not {"check-failed", "check-late", "check-blind"} & report.ailing
    assert report.status == 1


def test_a_healthy_server_is_summarized(report: Report) -> None:
    """The finding names the server's shell and session programs."""
    assert of(report, "plain")["ok"] == "plain: bash, screen, tmux"


def test_a_missing_session_program_is_reported(report: Report) -> None:
    """The finding names the programs that could be used instead."""
    found = report.one("session-missing", "advice", "server")
    assert (found["host"], "shell" in found["remedy"]) == ("bare", True)


def test_a_server_that_forbids_forwards_is_a_problem(report: Report) -> None:
    """If the server forbids forwards, they listen but carry no data. The finding names the option in sshd_config."""
    found = report.one("forwarding-refused", "problem", "server")
    assert (found["host"], "AllowTcpForwarding no" in found["title"]) == ("closed", True)


def test_an_account_that_runs_no_commands_is_reported(report: Report) -> None:
    """For an account without commands, the finding has a line for the configuration, or what remote forwards need."""
    assert "its account runs no commands" in of(report, "forced")["far-side-no-shell"]
    assert "cannot be freed" in of(report, "forced-r")["far-side-no-shell"]
    lines = {f["host"]: f["lines"] for f in report.findings if f["code"] == "far-side-no-shell"}
    assert lines == {
        "forced": ["[hosts.forced]", 'probe = "forward"'],
        "forced-r": ["ClientAliveInterval 15"],
    }


def test_a_server_that_does_not_notice_lost_connections_is_reported(report: Report) -> None:
    """A server that does not notice lost connections is reported only if the agent may not end its own dead session."""
    assert report.one("client-alive", "advice", "server")["host"] == "late"


def test_a_refused_login_is_a_problem_in_the_agents_words(report: Report) -> None:
    """A refused login is a problem with the agent's code."""
    found = report.one("auth-denied", "problem", "hosts")
    assert found["host"] == "denied"


def test_a_forward_that_is_not_open_is_a_problem(report: Report) -> None:
    """A forward that is not open is a problem that names it. Here another program holds its port on the server."""
    found = report.one("forward-failed", "problem", "hosts")
    assert (found["host"], found["lines"]) == ("plain", ["trayagent why plain"])


def test_a_problem_that_a_check_explains_better_is_reported_once(report: Report) -> None:
    """If the agent and the check of known_hosts report the same problem, only the check's finding is shown."""
    found = report.one("host-key-unknown", "problem", "known hosts")
    assert (found["host"], found["lines"]) == ("stranger", ["trayagent login stranger"])


def test_an_agent_without_a_tray_is_no_finding(report: Report) -> None:
    """`--no-tray` was requested, so a missing icon is fine."""
    assert report.well("desktop")


@pytest.mark.usefixtures("report")  # the fixture must run before this test stops a server
def test_a_master_with_a_silent_connection_is_reported_in_time(scene: Scene) -> None:
    """A master whose server is stopped gives a finding before the deadline."""
    stopped = scene.servers["late"].sessions()
    scene.lab.server.signal(signal.SIGSTOP, stopped)
    try:
        found = scene.examine().one("far-side-silent", "advice", "server")
    finally:
        scene.lab.server.signal(signal.SIGCONT, stopped)
    assert found["host"] == "late"


def test_a_missing_passphrase_is_advice_while_the_host_is_up(scene: Scene) -> None:
    """A missing passphrase is advice while the host is connected, because only its next login needs it."""
    change = ["ssh-keygen", "-p", "-q", "-f", str(scene.lab.files.key)]
    scene.lab.laptop.check([*change, "-P", "", "-N", "secret"])
    try:
        report = scene.examine()
    finally:
        scene.lab.laptop.check([*change, "-P", "secret", "-N", ""])
    levels = {f["host"]: f["level"] for f in report.findings if f["code"] == "passphrase-needed"}
    assert levels["bare"] == "advice"
    assert levels["denied"] == "problem"


def test_an_unknown_vpn_connection_is_a_problem(scene: Scene) -> None:
    """The finding lists the VPN connections that a real NetworkManager has."""
    with skipping():
        manager = NetworkManager(scene.lab)
    scene.agent.configure(f'{CONFIG}[vpns.corp]\nnetworkmanager = "Corp VPN"\n')
    report = scene.examine(DBUS_SYSTEM_BUS_ADDRESS=manager.bus_address)
    found = report.one("vpn-unknown", "problem", "VPNs")
    assert 'NetworkManager has no VPN connection "Corp VPN"' in found["title"]
    assert "It has: none" in found["remedy"]
    assert "NetworkManager" in report.well("network")["title"]
    manager.check(
        "connection", "add", "type", "wireguard", "con-name", "Corp VPN", "ifname", "wg0", "autoconnect", "no"
    )
    assert scene.examine().well("VPNs")
    scene.agent.configure(f'{CONFIG}[vpns.corp]\nnetworkmanager = "Other VPN"\n')
    assert 'It has: "Corp VPN"' in scene.examine().one("vpn-unknown", "problem", "VPNs")["remedy"]


def test_the_first_value_of_an_option_counts_as_in_sshd() -> None:
    """Names are read in lower case and with equals signs, and malformed lines are skipped."""
    lines = [
        "has tmux",
        "",
        "shell zsh",
        "readable",
        "sshd ClientAliveInterval=30",
        "sshd clientaliveinterval 0",
        "x",
    ]
    far = read_answer(lines)
    assert (far.tools, far.shell, far.readable, far.sshd) == (
        {"tmux"},
        "zsh",
        True,
        {"clientaliveinterval": "30"},
    )
    assert read_answer([]).sshd == {}


def test_a_server_is_checked_without_an_agent_but_not_while_the_network_is_down(scene: Scene) -> None:
    """Without an agent the check uses the masters itself, but it sends nothing while the network is down."""
    scene.lab.link_down()
    try:
        scene.agent.wait_state("plain", "offline")
        away = scene.examine()
        scene.agent.stop()
        alone = scene.examine()
    finally:
        scene.lab.link_up()
    assert not [f for report in (away, alone) for f in report.findings if f["topic"] == "server"]
    assert not {"check-late", "check-failed"} & (away.ailing | alone.ailing)
    until("the far side answers", lambda: "ok" in of(scene.examine(), "plain"))
    scene.agent.start(CONFIG)
    for name in CONNECTED:
        scene.agent.wait_state(name, "connected")


@pytest.mark.parametrize(
    ("allowed", "host", "refused"),
    [
        ("local", Host(local=("1:a:1",)), False),
        ("local", Host(remote=("1:a:1",)), True),
        ("remote", Host(local=("1:a:1",)), True),
        ("remote", Host(remote=("1:a:1",)), False),
        ("no", Host(), False),
        ("all", Host(dynamic=("1",)), False),
    ],
)
def test_only_forwards_that_are_wanted_can_be_refused(allowed: str, host: Host, refused: bool) -> None:
    """AllowTcpForwarding may allow one direction only: sshd_config(5)."""
    far = Far(readable=True, sshd={"allowtcpforwarding": allowed})
    codes = {finding.code for finding in judged("box", host, Resolved("box", "box"), far)}
    assert codes == ({"forwarding-refused"} if refused else set())


def test_a_server_that_notices_losses_late_matters_only_without_reap() -> None:
    """With `reap` the agent ends its own dead session at once, so no advice is needed."""
    for reap in (True, False):
        host = Host(remote=("1:a:1",), reap=reap)
        codes = {f.code for f in judged("box", host, Resolved("box", "box"), Far(readable=True))}
        assert codes == (set() if reap else {"client-alive"})


def test_nothing_is_left_behind(scene: Scene) -> None:
    """The scripts on the servers end; only the agent's sentinels still run."""
    far = scene.servers["bare"]

    def programs() -> list[str]:
        return sorted(word for pid in far.sessions() for word in _words(pid)[:1] if word in {"cat", "ps"})

    # The sentinel may just be starting again, because its master was replaced.
    until("only the sentinel runs", lambda: programs() == ["cat"])


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
