"""How long logins wait with many hosts, quick moves and hostile networks, at real servers."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from tests.lab.logins.test_logins import asked, other_key, refusals, stays, use_key
from tests.lab.matrix import OPTIONS, until
from tests.lab.pam import KEY, Pam
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import JUMP, OTHER

FOUR = ("web", "api", "db", "ci")
TWELVE = tuple(f"m{number}" for number in range(12))


def listed(*names: str) -> str:
    """Return a configuration that lists these hosts."""
    return "".join(f"[hosts.{name}]\n" for name in names)


def on_one_server(lab: Lab, *names: str) -> None:
    """Write aliases of one server into ssh_config, each with its own control path."""
    hosts: dict[str, Mapping[str, str | int | list[str]]] = {
        name: {**OPTIONS, "ControlPath": f"~/.ssh/cm-{name}"} for name in names
    }
    lab.ssh_config(hosts)


def connected(agent: Agent, names: tuple[str, ...], pids: Mapping[str, int]) -> bool:
    """Report whether all of these hosts are connected by masters that are not in `pids`."""
    hosts = {host["name"]: host for host in agent.status()["hosts"]}
    return all(hosts[n]["state"] == "connected" and hosts[n]["pid"] != pids.get(n) for n in names)


def test_four_hosts_on_one_server_are_back_after_two_quick_moves(lab: Lab, agent: Agent) -> None:
    """The second move interrupts the logins of the first one; no host waits for a minute."""
    lab.join("home")
    lab.sshd(config=["LogLevel VERBOSE"])
    on_one_server(lab, *FOUR)
    agent.start(listed(*FOUR))
    pids = {name: int(agent.wait_state(name, "connected")["pid"]) for name in FOUR}
    lab.switch("home", "cafe")
    time.sleep(0.7)  # long enough for the TCP connections, too short for four logins
    t0 = lab.switch("cafe", "office")
    until("all four are back", lambda: connected(agent, FOUR, pids), deadline_s=20.0)
    print(f"four hosts: back after {time.monotonic() - t0:.1f} s")  # noqa: T201  # shown by pytest -s


def test_a_host_that_moves_all_the_time_never_waits(lab: Lab, agent: Agent) -> None:
    """After nine moves within a minute, each with a successful login, the last login is as fast as the first."""
    lab.join("home")
    lab.sshd()
    on_one_server(lab, "web")
    agent.start(listed("web"))
    pid = int(agent.wait_state("web", "connected")["pid"])
    here, took, begun = "home", [], time.monotonic()
    for _ in range(9):
        there = "cafe" if here == "home" else "home"
        t0 = lab.switch(here, there)
        old = {"web": pid}
        until("it is replaced", lambda old=old: connected(agent, ("web",), old), deadline_s=15.0)  # type: ignore[misc]  # a default argument binds the variable
        took.append(time.monotonic() - t0)
        pid, here = int(agent.wait_state("web", "connected")["pid"]), there
    assert time.monotonic() - begun < 240, "some logins no longer count"
    print("moves:", *(f"{one:.1f}" for one in took))  # noqa: T201  # shown by pytest -s


def test_twelve_hosts_behind_a_bastion_that_refuses_the_key_make_two_logins(lab: Lab, agent: Agent) -> None:
    """One host shows the refusal, and the agent holds the others back. With a working key, all of them connect."""
    lab.join("home")
    bastion = lab.sshd(JUMP, config=["LogLevel VERBOSE"])
    lab.sshd(OTHER)
    hosts: dict[str, Mapping[str, str | int | list[str]]] = {"bastion": {"HostName": JUMP}}
    for name in TWELVE:
        hosts[name] = {
            "HostName": OTHER,
            "HostKeyAlias": OTHER,
            "ProxyJump": "bastion",
            "ControlPath": f"~/.ssh/cm-{name}",
        }
    lab.ssh_config(hosts)
    key = other_key(lab)
    agent.start(listed(*TWELVE))
    until(
        "every host says that it needs the user",
        lambda: {host["state"] for host in agent.status()["hosts"]} == {"needs-sign-in"},
        deadline_s=20.0,
    )
    stays("two logins", lambda: refusals(bastion) <= 2)
    codes = {host["problem"]["code"] for host in agent.status()["hosts"]}
    assert codes == {"auth-denied"}
    use_key(lab, key)
    until("all are connected", lambda: connected(agent, TWELVE, {}), deadline_s=60.0)
    assert refusals(bastion) <= 2


def test_a_network_that_closes_the_port_does_not_hold_up_the_next_one(lab: Lab, agent: Agent) -> None:
    """In the café a gateway accepts and closes connections. At home the agent still contacts the server immediately."""
    lab.join("home")
    server = lab.sshd()
    on_one_server(lab, "web")
    agent.start(listed("web"))
    agent.wait_state("web", "connected")
    lab.liar("cafe").closes()
    lab.switch("home", "cafe")
    until("the café has closed a connection", lambda: "kind=dropped" in agent.cli("why", "web").stdout, 15.0)
    server.restart()  # end the sessions, so that a login is needed
    t0 = lab.switch("cafe", "home")
    agent.wait_state("web", "connected", deadline_s=10.0)
    print(f"home: back after {time.monotonic() - t0:.1f} s")  # noqa: T201  # shown by pytest -s


def test_an_account_that_pam_refuses_sees_two_logins(lab: Lab, agent: Agent) -> None:
    """A connection that sshd closes without a message may be a refusal.

    After one successful login, all hosts come back.
    """
    pam = Pam(lab.files)
    pam.refuse_account(False)
    lab.join("home")
    server = lab.sshd(config=["LogLevel VERBOSE", *KEY])
    on_one_server(lab, *FOUR)
    agent.start(listed(*FOUR))
    for name in FOUR:
        agent.wait_state(name, "connected")
    pids = {host["name"]: int(host["pid"]) for host in agent.status()["hosts"]}
    pam.refuse_account()
    lab.switch("home", "cafe")
    text = "closed the connection during the login: perhaps the account is refused or expired"

    def denied() -> int:
        return server.said().count("Access denied for user")

    def told() -> list[str]:
        problems = [host["problem"] or {} for host in agent.status()["hosts"]]
        return [problem.get("title", "") for problem in problems]

    until("the account is refused twice", lambda: denied() == 2, 30.0)
    until("two say so", lambda: sum(text in title for title in told()) == 2, 10.0)
    until("two wait for the account", lambda: sum("refused 2 logins" in title for title in told()) == 2, 10.0)
    stays("two logins", lambda: denied() == 2)
    assert {host["state"] for host in agent.status()["hosts"]} == {"waiting"}
    pam.refuse_account(False)
    assert agent.cli("reconnect", FOUR[0]).returncode == 0
    until("all follow one that was let in", lambda: connected(agent, FOUR, pids), 30.0)
    assert denied() == 2


def test_twelve_hosts_behind_a_bastion_follow_the_first_together(lab: Lab, agent: Agent) -> None:
    """After the first successful login, the agent starts as many logins at a time as the server allows."""
    lab.join("home")
    bastion = lab.sshd(JUMP, config=["LogLevel VERBOSE"])
    lab.sshd(OTHER, config=["MaxStartups 100"])
    hosts: dict[str, Mapping[str, str | int | list[str]]] = {"bastion": {"HostName": JUMP}}
    for name in TWELVE:
        hosts[name] = {"HostName": OTHER, "ProxyJump": "bastion", "ControlPath": f"~/.ssh/cm-{name}"}
    lab.ssh_config(hosts)
    agent.start(listed(*TWELVE))
    most = 0

    def all_connected() -> bool:
        nonlocal most
        states = [host["state"] for host in agent.status()["hosts"]]
        most = max(most, states.count("connecting"))
        return states.count("connected") == len(TWELVE)

    until("all are connected", all_connected, deadline_s=60.0)
    assert most >= 4
    assert "drop connection" not in bastion.said()


def test_hosts_behind_a_rebooting_jump_host_wait_for_it(lab: Lab, agent: Agent) -> None:
    """The jump host's failures count once, not once per host behind it.

    When it is up, one login brings all hosts back.
    """
    lab.join("home")
    jump = lab.sshd(JUMP, config=["LogLevel VERBOSE"])
    lab.sshd(OTHER)
    hosts: dict[str, Mapping[str, str | int | list[str]]] = {"jump": {**OPTIONS, "HostName": JUMP}}
    for name in FOUR:
        hosts[name] = {"HostName": OTHER, "ProxyJump": "jump", "ControlPath": f"~/.ssh/cm-{name}"}
    lab.ssh_config(hosts)
    agent.start(listed("jump", *FOUR))
    until("all are connected", lambda: connected(agent, ("jump", *FOUR), {}), deadline_s=30.0)
    events = agent.events()
    jump.stop(sessions=True)
    for _ in range(2):
        events.wait("connect-failed", "jump")
    problems = {name: agent.listed_host(name) for name in FOUR}
    assert {host["state"] for host in problems.values()} == {"waiting"}, problems
    jump.start()
    before = asked(jump)
    until("all are back", lambda: connected(agent, ("jump", *FOUR), {}), deadline_s=30.0)
    assert asked(jump) == before + 1
    assert {e["host"] for e in events.drain() if e["event"] == "connect-failed"} == {"jump"}


@pytest.mark.slow
def test_a_relay_that_swallows_the_refusal_costs_two_logins(lab: Lab, agent: Agent) -> None:
    """A login that ends in silence after the key exchange may be refused. So the agent makes only two, and says so."""
    lab.join("cafe")
    server = lab.sshd(config=["LogLevel VERBOSE"])
    on_one_server(lab, *FOUR)
    accepted = lab.files.authorized_keys.read_text()
    lab.files.authorized_keys.write_text("")
    liar = lab.liar("cafe")
    liar.relays()
    done = lab.laptop.run(["ssh", "-S", "none", "-o", "BatchMode=yes", FOUR[0], "true"])
    assert "Permission denied" in done.stderr
    until("the relay knows the length of a refusal", lambda: len(liar.relayed) == 1, 5.0)
    liar.relays(liar.relayed[0] - 1)
    lab.switch("cafe", "home")
    lab.files.authorized_keys.write_text(accepted)
    agent.start(listed(*FOUR))
    for name in FOUR:
        agent.wait_state(name, "connected")
    pids = {host["name"]: int(host["pid"]) for host in agent.status()["hosts"]}
    lab.files.authorized_keys.write_text("")
    before = server.said().count("Failed publickey")
    lab.switch("home", "cafe")

    def refused() -> int:
        return server.said().count("Failed publickey") - before

    def told() -> list[str]:
        problems = [host["problem"] or {} for host in agent.status()["hosts"]]
        return [problem.get("title", "") for problem in problems]

    until("two say so", lambda: sum("perhaps it was refused" in title for title in told()) == 2, 60.0)
    until("two wait for the account", lambda: sum("refused 2 logins" in title for title in told()) == 2, 10.0)
    stays("two logins", lambda: refused() == 2)
    lab.files.authorized_keys.write_text(accepted)
    lab.switch("cafe", "home")
    assert agent.cli("reconnect", FOUR[0]).returncode == 0
    until("the account is tried again for the user", lambda: connected(agent, FOUR[:1], pids), 30.0)
