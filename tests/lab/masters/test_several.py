"""Several masters with different transports: a change of network affects only the masters that depend on it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.matrix import HARM, OPTIONS, alive, listener, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.agent_events import Events
from trayagent.sandbox.network_map import INTERNAL, JUMP, OTHER, SERVER

LISTED = ("db", "web", "inner", "carried")
CONFIG = "".join(f"[hosts.{name}]\n" for name in LISTED)
HOSTS: dict[str, Mapping[str, str | int | list[str]]] = {
    "db": {**OPTIONS, "HostName": INTERNAL},
    "web": {**OPTIONS, "ControlPath": "~/.ssh/cm-web"},
    "jump": {"HostName": JUMP},
    "inner": {**OPTIONS, "HostName": OTHER, "ProxyJump": "jump"},
    "hand": {
        "HostName": JUMP,
        "ControlPath": "~/.ssh/hand-%C",
        "ControlMaster": "auto",
        "ControlPersist": "10m",
    },
    "carried": {
        **OPTIONS,
        "HostName": OTHER,
        "ControlPath": "~/.ssh/cm-carried",  # before 9.6, %C is the same for another route to one account
        "ProxyCommand": "ssh -S ~/.ssh/cm-web -W [%h]:%p web",
    },
}
UNNAMED = f"@{OTHER}:22"


@dataclass(slots=True)
class Several:
    """The masters of a laptop by name, and the events since they were started."""

    lab: Lab
    agent: Agent
    events: Events
    unnamed: str
    pids: dict[str, int]
    paths: dict[str, str]

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Return the view of `status` by host."""
        return {host["name"]: host for host in self.agent.status()["hosts"]}

    def harmed(self) -> dict[str, set[str]]:
        """Wait for a pause in the events. Return the harmful events of each host since the last call."""
        told: dict[str, set[str]] = {}
        for event in self.events.drain(quiet_s=1.5):
            if event["event"] in HARM:
                told.setdefault(event["host"], set()).add(event["event"])
        self.events.seen.clear()
        return told

    def carries(self, name: str) -> bool:
        """Report whether a session through the host's control path works."""
        # The path is written out, because since OpenSSH 9.6 %C depends on the route, which is another one here.
        path = f"ControlPath={self.paths[name]}"
        words = ["ssh", "-o", path, "-o", "ControlMaster=no", "-o", "ProxyCommand=false", name, "true"]
        return self.lab.laptop.run(words).returncode == 0


@pytest.fixture
def several(lab: Lab, agent: Agent) -> Several:
    """Start one master of each kind: over the VPN, over Wi-Fi, jumped, carried, by hand, unnamed."""
    lab.join("home")
    for address in (SERVER, JUMP, OTHER, INTERNAL):
        lab.sshd(address)
    lab.ssh_config(HOSTS)
    lab.vpn_up()
    agent.start(CONFIG)
    events = agent.events()
    for words in (
        ["ssh", "hand", "true"],
        ["ssh", "-M", "-N", "-f", "-o", "ControlPath=~/.ssh/nobodys", f"{lab.files.user}@{OTHER}"],
    ):
        done = lab.laptop.run(words)
        assert done.returncode == 0, done.stderr
    names = [*LISTED, "hand", f"{lab.files.user}{UNNAMED}"]
    views = {name: agent.wait_state(name, "connected") for name in names}
    pids = {name: int(view["pid"]) for name, view in views.items()}
    paths = {name: str(view["control_path"]) for name, view in views.items()}
    made = Several(lab, agent, events, names[-1], pids, paths)
    until("each of them carries sessions", lambda: all(map(made.carries, names[:-1])))
    made.harmed()
    return made


def test_a_vpn_that_drops_and_returns_touches_only_the_master_over_it(several: Several) -> None:
    """When the tunnel is back, the agent replaces only the master over the VPN. Five others keep their pids."""
    lab, agent = several.lab, several.agent
    lab.vpn_down()
    agent.wait_state("db", "needs-vpn")
    assert several.harmed() == {}, "with its VPN down nothing is proven"
    lab.vpn_up()
    t0 = time.monotonic()
    several.events.wait("connected", "db")
    print(f"over the VPN: back after {(time.monotonic() - t0) * 1e3:.0f} ms")  # noqa: T201  # shown by pytest -s
    agent.wait_state("db", "connected")
    assert set(several.harmed()) <= {"db"}
    now = {name: host["pid"] for name, host in several.hosts().items() if name in several.pids}
    assert now.pop("db") != several.pids["db"]
    assert not alive(several.pids.pop("db"))
    assert now == several.pids
    assert all(map(several.carries, [*LISTED, "hand"]))


def test_another_wifi_replaces_the_masters_over_it_and_only_kills_the_unnamed_one(several: Several) -> None:
    """The agent replaces the masters over Wi-Fi, jumped, carried and by hand, and keeps the one over the VPN.

    The agent kills the unnamed master once it is proven stale. It cannot start it again, because its options are
    unknown.
    """
    lab, agent = several.lab, several.agent
    before = several.hosts()
    t0 = lab.switch("home", "cafe")
    moved = ["web", "inner", "carried", "hand"]
    for name in moved:
        until(f"{name} is replaced", lambda name=name: _replaced(several, name), deadline_s=20.0)  # type: ignore[misc]  # a default binds it
    print(f"all four: back after {(time.monotonic() - t0) * 1e3:.0f} ms")  # noqa: T201  # shown by pytest -s
    until("the unnamed master is dead", lambda: not alive(several.pids[several.unnamed]), deadline_s=20.0)

    harmed = several.harmed()
    assert "db" not in harmed, harmed
    assert harmed[several.unnamed] >= {"master-stale", "master-killed"}
    assert "connected" not in harmed[several.unnamed]
    assert agent.wait_state("db", "connected")["pid"] == several.pids["db"]
    for name in moved:
        host = agent.wait_state(name, "connected")
        assert not alive(several.pids[name])
        assert host["control_path"] == before[name]["control_path"]
        assert listener(lab, name) == host["pid"]
        assert several.carries(name)
    assert re.fullmatch(r"10\.20\.0\.\d+:\d+", agent.wait_state("web", "connected")["local"])
    assert several.unnamed not in several.hosts()
    assert not (lab.files.ssh / "nobodys").is_socket(), "its socket file is gone with it"


def _replaced(several: Several, name: str) -> bool:
    host = several.hosts().get(name)
    return host is not None and host["state"] == "connected" and host["pid"] != several.pids[name]


@pytest.mark.parametrize("connect", ["always", "on-use"])
def test_a_host_behind_a_local_forward_follows_the_host_that_has_it(
    lab: Lab, agent: Agent, connect: str
) -> None:
    """`inner` connects through a forward of `web`. It survives a reconnect of `web`, and returns after a move."""
    lab.join("home")
    lab.sshd()
    lab.sshd(OTHER)
    by_hand: dict[str, str | int | list[str]] = {"ControlMaster": "auto", "ControlPersist": "yes"}
    through: dict[str, str | int | list[str]] = {
        "HostName": "localhost",
        "Port": 2222,
        "HostKeyAlias": OTHER,
        "ControlPath": "~/.ssh/cm-inner",
    }
    lab.ssh_config({"web": {**OPTIONS, "ControlPath": "~/.ssh/cm-web"}, "inner": {**through, **by_hand}})
    agent.start(f'[hosts.web]\nlocal = ["2222:{OTHER}:22"]\n[hosts.inner]\nconnect = "{connect}"\n')
    agent.wait_forwards("web", {"local": "open"})
    if connect == "on-use":
        assert lab.laptop.run(["ssh", "inner", "true"]).returncode == 0
    inner, web = (int(agent.wait_state(name, "connected")["pid"]) for name in ("inner", "web"))
    lab.flap(1)
    assert agent.cli("reconnect", "web").returncode == 0
    assert agent.wait_state("web", "connected")["pid"] != web
    assert agent.wait_state("inner", "connected")["pid"] == inner
    lab.switch("home", "cafe")
    until("it was replaced", lambda: not alive(inner))
    assert agent.wait_state("inner", "connected")["pid"] != inner
