"""A hostile network: a machine answers at the server's address, without the server's key."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.lab.matrix import HOST, OPTIONS, alive, bring_up, until
from trayagent.sandbox import Agent, Lab, Liar
from trayagent.sandbox.network_map import JUMP, SERVER
from trayagent.sandbox.ssh_config_of_laptop import make_known

CONFIG = f'[hosts.{HOST}]\nlocal = ["9000:127.0.0.1:22"]\n'
UNCHECKED = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null"}
ENDS = 'Authenticated to web01 ([203.0.113.10]:22) using "publickey".'
FORGED = [
    "Permission denied (publickey).",
    "bye\nme@203.0.113.10: Permission denied (publickey).",
    "Too many authentication failures",
    "System is going down. Unprivileged users are not permitted to log in anymore.",
    f"bye\n{ENDS}\nme@203.0.113.10: Permission denied (publickey).",
    "bye\ndebug1: kex.c:kex_input_newkeys():612 (pid=1): SSH2_MSG_NEWKEYS received\nPermission denied (publickey).",
    "bye\nPermission denied (publickey).\nConnection closed by UNKNOWN port 65535",
    "bye\n/home/me/.ssh/config: line 1: Bad configuration option: forged",
]
# Keys that ssh accepts without a check, or checks only against an empty file.
UNCHECKED_WAYS = [UNCHECKED, {**UNCHECKED, "StrictHostKeyChecking": "accept-new"}]
# In the café the laptop's address differs, so the connection is lost. In the office it is the same as at home, so
# the connection only falls silent.
NETWORKS = ["cafe", "office"]


def connected(lab: Lab, agent: Agent, **options: str) -> int:
    """Connect one host from home, and return the pid of its master."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, **options}})
    agent.start(CONFIG)
    agent.wait_state(HOST, "connected")
    agent.wait_forwards(HOST, {"local": "open"})
    return int(agent.wait_state(HOST, "connected")["pid"])


def lied_to(lab: Lab, agent: Agent, liar: Liar, network: str) -> None:
    """Move into the network, and wait for two logins at the false server, so that the agent has judged the first."""
    lab.switch("home", network)
    until("two logins were lied to", lambda: liar.visits >= 2, 20.0)
    assert agent.host(HOST)


def back_home(lab: Lab, agent: Agent, network: str, pid: int) -> int:
    """Go home while the old connection still lives, check that the host connects without a sign-in, and return its pid.

    The old connection either continues, or the real server proves it stale. That depends on how much data was lost.
    """
    assert alive(pid)
    lab.switch(network, "home")
    view = agent.wait_state(HOST, "connected")
    assert view["problem"] is None
    return int(view["pid"])


@pytest.mark.parametrize("text", FORGED)
def test_a_forged_disconnect_kills_nothing_and_stops_nothing(lab: Lab, agent: Agent, text: str) -> None:
    """A forged plaintext packet only makes an attempt fail.

    The master lives, and at home the host is connected as before.
    """
    pid = connected(lab, agent)
    for network in NETWORKS:
        liar = lab.liar(network)
        liar.disconnects(text)
        lied_to(lab, agent, liar, network)
        assert alive(pid), network
        view = agent.host(HOST)
        assert view is not None
        assert view["state"] not in {"needs-sign-in", "failed"}, network
        pid = back_home(lab, agent, network, pid)


def test_a_forged_certificate_is_no_control_at_a_terminal_either(lab: Lab, agent: Agent) -> None:
    """The certificate's key ID contains ssh's own log line about NEWKEYS and a refusal.

    It certifies the server's real key.
    """
    lab.join("home")
    server = lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, "StrictHostKeyChecking": "yes"}})
    agent.start(CONFIG)
    pid = int(agent.wait_state(HOST, "connected")["pid"])
    forged = "debug1: kex.c:kex_input_newkeys():612 (pid=1): SSH2_MSG_NEWKEYS received"
    for network in NETWORKS:
        liar = lab.liar(network)
        liar.certifies(server.host_key, f"x\n{forged}\nme@203.0.113.10: Permission denied (publickey).\n")
        lied_to(lab, agent, liar, network)
        with agent.at_terminal("login", HOST) as terminal:
            assert terminal.ended() == 1
        assert alive(pid), network
        pid = back_home(lab, agent, network, pid)


@pytest.mark.parametrize("config", [[], ["AuthorizedKeysFile none"]])
def test_another_host_key_is_no_control(lab: Lab, agent: Agent, config: Sequence[str]) -> None:
    """A real sshd with another host key, which ssh does not check, accepts or refuses the login. The master lives."""
    pid = connected(lab, agent, **UNCHECKED)
    for network in NETWORKS:
        trap = lab.liar(network).pretends(config)
        lab.switch("home", network)
        until(
            "the trap was visited",
            lambda trap=trap: ("user" in trap.said() and "preauth" in trap.said()) or trap.logins(),  # type: ignore[misc]  # called in this iteration only
            20.0,
        )
        agent.wait_state(HOST, "offline")
        assert alive(pid), network
        assert agent.listed_host(HOST)["pid"] == pid
        pid = back_home(lab, agent, network, pid)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_host_key_is_a_control_without_any_checking(lab: Lab, agent: Agent, network: str) -> None:
    """The host key in the records survives an agent's restart.

    So on another network, the real server proves a master stale.
    """
    pid = connected(lab, agent, **UNCHECKED)
    agent.stop()
    agent.start()
    assert agent.wait_state(HOST, "connected")["pid"] == pid
    lab.switch("home", network)
    until("it was replaced", lambda: not alive(pid))
    assert agent.wait_state(HOST, "connected")["pid"] != pid


def test_an_unchecked_login_is_no_control_for_a_master_of_unknown_origin(lab: Lab, agent: Agent) -> None:
    """If a master's host key is unknown, status shows `host-key-unknown`, and `reconnect` replaces the master."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, **UNCHECKED}})
    assert lab.laptop.run(["ssh", "-M", "-N", "-f", HOST]).returncode == 0
    agent.start(CONFIG)
    pid = int(agent.wait_state(HOST, "connected")["pid"])
    lab.switch("home", "cafe")
    view = agent.wait_state(HOST, "needs-sign-in")
    assert view["problem"]["code"] == "host-key-unknown"
    assert alive(pid)
    assert agent.cli("reconnect", HOST).returncode == 0
    assert agent.wait_state(HOST, "connected")["pid"] != pid


@pytest.mark.parametrize("config", [[], ["AuthorizedKeysFile none"]])
@pytest.mark.parametrize("options", UNCHECKED_WAYS)
def test_another_machine_is_no_control_for_a_master_of_unknown_origin(
    lab: Lab, agent: Agent, options: dict[str, str], config: Sequence[str]
) -> None:
    """Another machine's sshd accepts or refuses the login. The user's own master lives, and continues at home."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {**OPTIONS, **options}})
    assert lab.laptop.run(["ssh", "-M", "-N", "-f", HOST]).returncode == 0
    agent.start(CONFIG)
    pid = int(agent.wait_state(HOST, "connected")["pid"])
    trap = lab.liar("cafe").pretends(config)
    lab.switch("home", "cafe")
    until("the trap was visited", lambda: "preauth" in trap.said() or trap.logins(), 20.0)
    agent.wait_state(HOST, "needs-sign-in")
    until("the attempt is over", lambda: "retry=never" in agent.cli("why", HOST).stdout, 10.0)
    assert alive(pid)
    lab.switch("cafe", "home")
    assert agent.wait_state(HOST, "connected")["pid"] == pid


@pytest.mark.parametrize("text", [FORGED[1], FORGED[-1]])
def test_a_refusal_behind_a_lying_jump_host_stops_nothing(lab: Lab, agent: Agent, text: str) -> None:
    """The agent does not believe messages of the jump host's ssh, so at home it makes the login that is needed."""
    lab.join("home")
    lab.sshd()
    jump = lab.sshd(JUMP)
    lab.ssh_config({"jump": {"HostName": JUMP}, HOST: {**OPTIONS, "HostName": SERVER, "ProxyJump": "jump"}})
    agent.start(CONFIG)
    pid = int(agent.wait_state(HOST, "connected")["pid"])
    liar = lab.liar("cafe", address=JUMP)
    liar.disconnects(text)
    lab.switch("home", "cafe")
    until("a login was lied to", lambda: liar.visits, 20.0)
    until("it stopped", lambda: agent.listed_host(HOST)["state"] in {"needs-sign-in", "failed"}, 10.0)
    assert alive(pid)
    jump.restart()
    lab.switch("cafe", "home")
    assert agent.wait_state(HOST, "connected")["problem"] is None


def test_a_server_with_one_more_known_key_is_recognized(lab: Lab, agent: Agent) -> None:
    """If known_hosts gets another key that ssh prefers, the control still requests the recorded key."""
    lab.join("home")
    server = lab.sshd()
    rsa = lab.files.root / "rsa"
    lab.server.check(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(rsa)])
    known = lab.files.known_hosts.read_text()
    lab.files.known_hosts.write_text(
        f"{SERVER} {' '.join(rsa.with_suffix('.pub').read_text().split()[:2])}\n"
    )
    server.restart([f"HostKey {rsa}"])
    lab.ssh_config({HOST: OPTIONS})
    agent.start(CONFIG)
    pid = int(agent.wait_state(HOST, "connected")["pid"])
    lab.files.known_hosts.write_text(lab.files.known_hosts.read_text() + known)
    lab.switch("home", "cafe")
    until("it was replaced", lambda: not alive(pid))
    assert agent.wait_state(HOST, "connected")["problem"] is None


def test_a_server_whose_host_key_was_rotated_replaces_the_connection_after_a_move(
    lab: Lab, agent: Agent
) -> None:
    """known_hosts has the new key, as after UpdateHostKeys.

    At home the agent keeps the old connection, and after a move the server replaces it.
    """
    up = bring_up(lab, agent)
    (server,) = lab.servers
    server.stop()
    server.new_host_key()
    server.start()
    make_known(lab.files, server)
    lab.flap(1)
    up.assert_kept(proven=True)
    lab.switch("home", "cafe")
    until("it was replaced", lambda: not alive(up.pid))
    assert agent.wait_state(HOST, "connected")["problem"] is None
