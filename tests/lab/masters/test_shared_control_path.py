"""Two hosts with the same control path: only one can be connected, and it owns the master."""

from __future__ import annotations

import json

import pytest

from tests.lab.matrix import HARM, alive, listener, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import INTERNAL, JUMP, SERVER

SHARED = {"HostName": SERVER, "ControlPath": "~/.ssh/cm-all"}


@pytest.fixture
def two_servers(lab: Lab) -> Lab:
    """Write two hosts with one control path into ssh_config."""
    lab.join("home")
    for port in (22, 2222):
        lab.sshd(port=port)
    lab.ssh_config({"web01": SHARED, "web02": {**SHARED, "Port": 2222}})
    return lab


@pytest.mark.parametrize(
    ("listed", "background"),
    [(("web02", "web01"), False), (("web02",), True)],
    ids=["both are listed", "one is listed, and the master is in the background"],
)
def test_a_disconnect_ends_no_master_of_another_host(
    two_servers: Lab, agent: Agent, listed: tuple[str, ...], background: bool
) -> None:
    """`status` shows the master at the host whose server it leads to. The other host's problem names the first host."""
    own = two_servers.laptop.popen(["ssh", "-M", "-N", *(["-f"] if background else []), "web01"])
    until("a master", lambda: listener(two_servers, "web01"))
    pid = listener(two_servers, "web01")
    assert pid is not None
    assert background or own.pid == pid
    agent.start("".join(f"[hosts.{name}]\n" for name in listed))
    assert agent.wait_state("web01", "connected")["pid"] == pid
    problem = agent.wait_state("web02", "failed")["problem"]
    assert problem["code"] == "control-path-taken"
    assert problem["title"].startswith("web02 shares its control path with web01: ")
    agent.cli("disconnect", "web02")
    agent.wait_state("web02", "idle")
    agent.cli("reconnect", "web02")
    agent.wait_state("web02", "failed")
    assert listener(two_servers, "web01") == pid


@pytest.mark.usefixtures("two_servers")
def test_the_other_host_connects_once_the_path_is_free(agent: Agent) -> None:
    """Only one of the two hosts is connected. When the user disconnects it, the other one connects."""
    agent.start("[hosts.web01]\n[hosts.web02]\n")
    until(
        "one is connected", lambda: {h["state"] for h in agent.status()["hosts"]} == {"connected", "failed"}
    )
    up = next(host for host in agent.status()["hosts"] if host["state"] == "connected")
    other = {"web01": "web02", "web02": "web01"}[up["name"]]
    events = agent.events()
    agent.cli("disconnect", other)
    assert alive(up["pid"])
    agent.cli("reconnect", other)
    agent.wait_state(other, "failed")
    assert not {event["event"] for event in events.drain() if event["host"] == up["name"]} & HARM
    agent.cli("disconnect", up["name"])
    assert agent.wait_state(other, "connected")["pid"] != up["pid"]


def test_a_master_belongs_to_the_name_with_its_jump_host(lab: Lab, agent: Agent) -> None:
    """The name whose jump host the master uses gets it, and brings it back. `init`, `doctor` and the other name agree.

    ssh has forgotten which name was typed. The other name leads to the same account, but without the jump host.
    """
    lab.join("home")
    lab.sshd(JUMP)
    lab.sshd(INTERNAL)
    shared = {"HostName": INTERNAL, "ControlPath": "~/.ssh/cm-inner"}
    lab.ssh_config({"corpdb": shared, "jump": {"HostName": JUMP}, "app01": {**shared, "ProxyJump": "jump"}})
    lab.laptop.check(["ssh", "-M", "-f", "-N", "-o", "ControlPersist=yes", "app01"])
    assert "[hosts.app01]" in agent.cli("init", "--print").stdout
    agent.start("[hosts.corpdb]\n")
    before = agent.wait_state("app01", "connected")
    problem = agent.wait_state("corpdb", "failed")["problem"]
    assert problem["code"] == "control-path-taken"
    assert problem["title"].startswith("corpdb shares its control path with app01: ")
    assert "%C-%n" in problem["hint"]
    findings = json.loads(agent.cli("doctor", "--json").stdout)["findings"]
    route = next(one for one in findings if one["code"] == "control-path-route")
    assert "connects through jump, but ssh_config connects without" in route["title"]
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", "app01")
    assert agent.wait_state("app01", "connected")["pid"] != before["pid"]


@pytest.mark.parametrize("first", ["web03", "next"])
def test_two_names_of_one_account_share_a_connection(lab: Lab, agent: Agent, first: str) -> None:
    """After a move one login restores the forwards of both names, whichever of them has the connection.

    The other name says whose connection it uses, has no outage of its own, and shows no forward as given by hand. Its
    `reconnect` is one login, and its `disconnect` ends no connection. When it gets its own ControlPath, it gets its own
    connection with its forwards.
    """
    lab.join("home")
    server = lab.sshd()
    lab.echo(8000)
    base = {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%C"}
    web03 = {**base, "DynamicForward": "1081", "LocalForward": "8080 127.0.0.1:8000"}
    lab.ssh_config({"web03": web03, "next": base})
    table = {
        "web03": "[hosts.web03]\n",
        "next": '[hosts.next]\nroam = true\nlocal = ["9100:127.0.0.1:8000"]\n',
    }
    second = next(name for name in table if name != first)
    agent.start(table[first])
    agent.wait_state(first, "connected")
    if first == "next":
        until("it roams", lambda: agent.listed_host("next")["roaming"], 30.0)
    agent.configure(table[first] + table[second])

    def complete() -> bool:
        hosts = [agent.host(name) for name in table]
        forwards = [f for host in hosts if host is not None for f in host["forwards"]]
        states = {f["state"] for f in forwards}
        by_hand = [f for f in forwards if f["by_hand"]]
        ports = lab.laptop.check(["ss", "-Hltn"])
        return (
            None not in hosts
            and states == {"open"}
            and not by_hand
            and all(f":{port} " in ports for port in (1081, 8080, 9100))
        )

    until("all forwards are open", complete)
    if second == "next":
        assert agent.listed_host("next")["no_roaming"] == "It uses the connection of web03"
    events, logins = agent.events(), server.logins()
    lab.switch("home", "cafe")
    events.wait("connected", first)
    until("all forwards are open again", complete)
    assert server.logins() == logins + 1
    assert not {event["event"] for event in events.drain() if event["host"] == second} & HARM
    assert f"{first}: connected" in agent.cli("reconnect", second).stdout
    assert server.logins() == logins + 2
    agent.cli("disconnect", second)
    agent.wait_state(second, "idle")
    assert agent.listed_host(first)["state"] == "connected"
    agent.cli("reconnect", second)
    until("all forwards are open for both", complete)
    own = lab.files.home / ".ssh" / "own"
    lab.ssh_config(
        {
            "web03": web03,
            "next": base,
            second: {**(web03 if second == "web03" else base), "ControlPath": str(own)},
        }
    )
    until("it has its own connection", lambda: own.is_socket() and not own.is_symlink(), 30.0)
    until("all forwards are open", complete)
    assert listener(lab, first) != listener(lab, second)
