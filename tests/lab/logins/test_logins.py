"""Failing logins: the message, the number of attempts, and the automatic recovery."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.lab.matrix import alive, until
from trayagent.sandbox import Agent, Lab, Sshd
from trayagent.sandbox.agent import END_DEADLINE_S
from trayagent.sandbox.lab_files import keygen
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.network_map import JUMP
from trayagent.ssh.master.sentinel import MARKER_DEADLINE_S

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
CONFIG = "[hosts.web01]\n"
QUIET_S = 1.5  # long enough for a wrong second attempt to start


def asked(sshd: Sshd) -> int:
    """Return how many connections the server has received since its first start."""
    return len(re.findall(r"^Connection from ", sshd.said(), re.MULTILINE))


def refusals(sshd: Sshd) -> int:
    """Return how many logins the server has refused."""
    return len(re.findall(r"^Connection (?:closed|reset) by authenticating user ", sshd.said(), re.MULTILINE))


def server(lab: Lab, *config: str) -> Sshd:
    """Go home, and start a server that logs each connection."""
    lab.join("home")
    lab.ssh_config({"web01": SERVER})
    return lab.sshd(config=["LogLevel VERBOSE", *config])


def in_trouble(agent: Agent, state: str, code: str, *words: str) -> dict[str, Any]:
    """Wait for the state. Check the problem's code, and that its title and hint contain the words."""
    view = agent.wait_state("web01", state)
    problem = view["problem"]
    assert problem is not None, view
    assert problem["code"] == code, problem
    assert "web01" in problem["title"] or words, problem
    assert problem["hint"], problem
    for word in words:
        assert word in f"{problem['title']} {problem['hint']}", problem
    return view


def other_key(lab: Lab) -> Path:
    """Make the server accept only another key, and return the path of that key."""
    key = lab.files.root / "other-key"
    keygen(key)
    shutil.copy(key.with_suffix(".pub"), lab.files.authorized_keys)
    return key


def use_key(lab: Lab, key: Path) -> None:
    """Replace the key of the laptop's user, as `mv` would."""
    for suffix in (".pub", ""):
        fresh = lab.files.ssh / f"fresh{suffix}"
        shutil.copy(key.with_name(key.name + suffix), fresh)
        fresh.chmod(0o600)
        fresh.replace(lab.files.key.with_name(lab.files.key.name + suffix))


def stays(what: str, condition: Callable[[], object], for_s: float = QUIET_S) -> None:
    """Check that the condition stays true for `for_s`, because there is no event to wait for."""
    limit = time.monotonic() + for_s
    while time.monotonic() < limit:
        assert condition(), f"no longer: {what}"
        time.sleep(0.1)


def test_a_refused_login_is_tried_once_and_again_when_the_key_is_replaced(lab: Lab, agent: Agent) -> None:
    """After one refused login the host is `needs-sign-in`. It is connected once the key file is replaced."""
    sshd = server(lab)
    key = other_key(lab)
    agent.start(CONFIG)
    view = in_trouble(agent, "needs-sign-in", "auth-denied", "web01")
    assert view["next_retry"] is None
    stays("one login", lambda: asked(sshd) == 1)
    use_key(lab, key)
    agent.wait_state("web01", "connected")
    assert asked(sshd) == 2
    assert agent.listed_host("web01")["problem"] is None


def test_a_refused_login_is_not_made_again_by_the_next_agents(lab: Lab, agent: Agent) -> None:
    """An agent that starts after a refused login, even after a kill, tries no other login until the key has changed."""
    sshd = server(lab)
    key = other_key(lab)
    agent.start(CONFIG)
    until("the login is refused", lambda: refusals(sshd) == 1)
    agent.kill9()
    for _ in range(2):
        agent.start()
        in_trouble(agent, "needs-sign-in", "auth-denied")
        agent.stop()
    agent.start()
    stays("one login", lambda: asked(sshd) == 1)
    agent.stop()
    use_key(lab, key)  # the key changes while no agent runs
    agent.start()
    agent.wait_state("web01", "connected")
    agent.stop()
    assert agent.records()["hosts"]["web01"]["refusal"] is None


def test_agents_that_end_while_a_refusal_is_on_its_way_make_two_logins(lab: Lab, agent: Agent) -> None:
    """A login counts as refused if its agent ends before the answer: in good order, or killed together with ssh."""
    lab.set_rtt(300)
    sshd = server(lab)
    other_key(lab)

    def stops_trying(seen: int) -> bool:
        refused = sshd.said().count("Failed publickey") > seen
        return refused or (agent.host("web01") or {}).get("state") == "needs-sign-in"

    for ends in (agent.kill9, agent.stop, agent.kill9):
        seen = sshd.said().count("Failed publickey")
        agent.start(CONFIG)
        until("a login is refused, or not made", partial(stops_trying, seen))
        running = [pid for pid in lab.laptop.pids() if Path(f"/proc/{pid}/comm").read_text() == "ssh\n"]
        ends()
        lab.laptop.signal(signal.SIGKILL, running)
    assert asked(sshd) <= 2


def test_five_changes_of_network_make_no_third_login_of_a_refused_one(lab: Lab, agent: Agent) -> None:
    """Changes of network cause no further login after a refused one."""
    sshd = server(lab)
    other_key(lab)
    agent.start(CONFIG)
    in_trouble(agent, "needs-sign-in", "auth-denied")
    for number in range(5):
        lab.switch(*(("home", "cafe") if number % 2 == 0 else ("cafe", "home")))
        time.sleep(0.4)  # so that the agent sees each change separately
    stays("at most 2 logins", lambda: refusals(sshd) <= 2)
    assert refusals(sshd) == 1
    in_trouble(agent, "needs-sign-in", "auth-denied")


def test_keys_that_change_all_the_time_make_no_third_login(lab: Lab, agent: Agent) -> None:
    """Each changed key allows another login, but at most 2 are refused within ten minutes."""
    sshd = server(lab)
    other_key(lab)
    agent.start(CONFIG)
    in_trouble(agent, "needs-sign-in", "auth-denied")
    for number in range(4):
        key = lab.files.root / f"wrong-{number}"
        keygen(key)
        use_key(lab, key)
        until("the second login", lambda: refusals(sshd) == 2)
        time.sleep(0.3)  # so that the agent sees each change separately
    stays("at most 2 logins", lambda: refusals(sshd) <= 2)


def test_a_running_host_whose_login_is_refused_elsewhere_needs_sign_in(lab: Lab, agent: Agent) -> None:
    """After one refused login on another network the agent kills the stale master, although no new one can log in."""
    sshd = server(lab)
    agent.start(CONFIG)
    pid = agent.wait_state("web01", "connected")["pid"]
    events = agent.events()
    key = other_key(lab)
    lab.switch("home", "cafe")
    events.wait("master-stale", "web01")
    events.wait("master-killed", "web01")
    in_trouble(agent, "needs-sign-in", "auth-denied")
    until("the stale master is gone", lambda: not alive(pid))
    until("the agent knows it", lambda: agent.listed_host("web01")["pid"] is None)
    stays("one login", lambda: refusals(sshd) == 1)
    for number in range(4):
        lab.switch(*(("cafe", "home") if number % 2 == 0 else ("home", "cafe")))
        time.sleep(0.4)  # so that the agent sees each change separately
    stays("at most 2 logins", lambda: refusals(sshd) <= 2)
    use_key(lab, key)
    agent.wait_state("web01", "connected")


def test_an_unknown_host_key_waits_for_known_hosts(lab: Lab, agent: Agent) -> None:
    """An unknown host key is `needs-sign-in` after one connection; with the key in known_hosts it connects."""
    sshd = server(lab)
    known = lab.files.known_hosts.read_text()
    lab.files.known_hosts.write_text("")
    agent.start(CONFIG)
    in_trouble(agent, "needs-sign-in", "host-key-unknown", "trayagent login web01")
    stays("one connection", lambda: asked(sshd) == 1)
    lab.files.known_hosts.write_text(known)
    agent.wait_state("web01", "connected")
    assert asked(sshd) == 2


def test_a_changed_host_key_fails_until_known_hosts_is_fixed(lab: Lab, agent: Agent) -> None:
    """A server with a changed host key is `failed` after one connection, until known_hosts has the new key."""
    sshd = server(lab)
    agent.start(CONFIG)
    agent.wait_state("web01", "connected")
    before = asked(sshd)
    sshd.stop(sessions=True)
    sshd.new_host_key()
    sshd.start()
    in_trouble(agent, "failed", "host-key-changed", "web01")
    after = asked(sshd)
    assert after - before == 1
    stays("one connection", lambda: asked(sshd) == after)
    known = lab.files.known_hosts
    fresh = known.with_suffix(".new")
    fresh.write_text(f"{sshd.known_as} {sshd.host_key}\n")
    fresh.replace(known)
    agent.wait_state("web01", "connected")


def test_a_refused_port_is_tried_again_and_again_until_the_server_is_back(lab: Lab, agent: Agent) -> None:
    """If the server's port is closed, the host is `waiting`, with the time of the next attempt.

    No event reports that the server is back, so only a retry detects it.
    """
    sshd = server(lab)
    sshd.stop()
    agent.start(CONFIG)
    view = in_trouble(agent, "waiting", "refused", "web01", "22")
    assert view["next_retry"] is not None
    assert view["attempt"] >= 1
    sshd.start()
    agent.wait_state("web01", "connected", deadline_s=20.0)


def test_a_name_that_is_not_found_is_resolved_again(lab: Lab, agent: Agent) -> None:
    """A host whose name has no address is `waiting`. It is connected once the name has an address."""
    server(lab)
    lab.ssh_config({"web01": {**SERVER, "HostName": "web01.example", "HostKeyAlias": "203.0.113.10"}})
    agent.start(CONFIG)
    view = in_trouble(agent, "waiting", "name-not-found", "web01.example")
    assert view["next_retry"] is not None
    with (lab.files.root / "etc" / "hosts").open("a") as hosts:
        hosts.write("203.0.113.10 web01.example\n")
    agent.wait_state("web01", "connected", deadline_s=20.0)


@contextmanager
def held_connection(lab: Lab) -> Iterator[None]:
    """Keep a connection without a login open."""
    hold = (
        "import socket, sys; held = socket.create_connection(('203.0.113.10', 22)); held.recv(9);"
        "print('held', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    child = lab.server.popen(["python3", "-c", hold], stdin=pipe, stdout=pipe)
    assert child.stdin
    assert child.stdout
    try:
        assert child.stdout.readline() == "held\n"
        yield
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait(END_DEADLINE_S)


@pytest.mark.slow
def test_a_server_that_drops_us_is_retried_only_after_a_pause(lab: Lab, agent: Agent) -> None:
    """If MaxStartups drops the connection, the agent tries again only after 20 s, and then connects."""
    sshd = server(lab, "MaxStartups 1")

    def drops() -> int:
        return sshd.said().count("drop connection #")

    with held_connection(lab):
        agent.start(CONFIG)
        in_trouble(agent, "waiting", "refused", "busy")
        began, count = time.monotonic(), drops()
        lab.switch("home", "cafe")
        until("one attempt in the other network", lambda: drops() == count + 1)
        lab.switch("cafe", "home")
        stays("no attempt", lambda: agent.listed_host("web01")["state"] == "waiting")
        assert drops() == count + 1
    agent.wait_state("web01", "connected", deadline_s=40.0)
    assert time.monotonic() - began > 15.0
    assert sshd.logins() == 1


def sessions(sshd: Sshd) -> int:
    """Return how many sessions were opened."""
    return len(re.findall(r"^Starting session: ", sshd.said(), re.MULTILINE))


def test_a_forced_command_is_probed_by_forward_and_remembered(lab: Lab, agent: Agent) -> None:
    """A forced command prints no marker line. After one such session, probes use forwards, also with the next agent."""
    sshd = server(lab, "ForceCommand /bin/echo this account is for forwards only")
    agent.start(CONFIG)
    pid = agent.wait_state("web01", "connected")["pid"]

    def remembered() -> bool:
        kept = agent.records()
        return kept["hosts"].get("web01", {}).get("sentinel") is False

    until(
        "it is remembered", remembered, deadline_s=0.9 * MARKER_DEADLINE_S
    )  # only the end of its output shows that it is a forced command
    assert sessions(sshd) == 1
    events = agent.events()
    lab.join("home", interface="eth0", metric=50)  # the source address differs, but the old connection lives
    assert events.wait("master-kept", "web01")["pid"] == pid
    agent.stop()
    agent.start()
    assert agent.wait_state("web01", "connected")["pid"] == pid
    assert agent.cli("reconnect", "web01").returncode == 0
    assert agent.wait_state("web01", "connected")["pid"] != pid
    stays("no other session", lambda: sessions(sshd) == 1)
    lab.leave("home")
    lab.join("cafe")
    agent.wait_state("web01", "connected")
    assert remembered()


def test_where_forwarding_is_forbidden_the_master_is_up_and_probed_all_the_same(
    lab: Lab, agent: Agent
) -> None:
    """With `AllowTcpForwarding no`, the host connects and recovers, and -R is `failed` with the reason."""
    sshd = server(lab, "AllowTcpForwarding no")
    agent.start('[hosts.web01]\nremote = ["22221:localhost:22"]\n')
    pid = agent.wait_state("web01", "connected")["pid"]
    (forward,) = agent.wait_forwards("web01", {"remote": "failed"})
    assert "22221" in forward["error"]
    events = agent.events()
    lab.join("home", interface="eth0", metric=50)
    assert events.wait("master-kept", "web01")["pid"] == pid
    lab.leave("home")
    lab.join("cafe")
    events.wait("connected", "web01")
    assert agent.wait_state("web01", "connected")["pid"] != pid
    assert sshd.logins() == 2


def test_nothing_in_common_fails_until_ssh_config_is_changed(lab: Lab, agent: Agent) -> None:
    """With a cipher that the server lacks, the host is `failed` after one connection.

    It is connected after the edit.
    """
    sshd = server(lab, "Ciphers aes128-ctr")
    lab.ssh_config({"web01": {**SERVER, "Ciphers": "aes256-ctr"}})
    agent.start(CONFIG)
    in_trouble(agent, "failed", "no-common-algorithm", "cipher")
    stays("one connection", lambda: asked(sshd) == 1)
    lab.ssh_config({"web01": {**SERVER, "Ciphers": "aes128-ctr"}})
    agent.wait_state("web01", "connected")


def test_a_locked_key_needs_its_passphrase(lab: Lab, agent: Agent) -> None:
    """After one attempt with an encrypted key, the problem `passphrase-needed` contains the command that unlocks it."""
    lab.join("home")
    server = lab.sshd(config=["LogLevel VERBOSE"])
    lab.laptop.check(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(lab.files.key)])
    lab.ssh_config({"web01": {**SERVER, "IdentityAgent": "none"}})
    agent.start("[hosts.web01]\n")
    view = agent.wait_state("web01", "needs-sign-in")
    assert view["problem"]["code"] == "passphrase-needed"
    assert "ssh-add" in view["problem"]["hint"]
    assert (asked(server), server.logins()) == (1, 0)


def test_an_ssh_config_that_ssh_refuses_fails_until_it_is_fixed(lab: Lab, agent: Agent) -> None:
    """`config-error` shows ssh's own message, also after `reconnect`. The host is connected after the edit."""
    server(lab)
    lab.ssh_config({"web01": {**SERVER, "BogusOption": "yes"}})
    agent.start(CONFIG)
    in_trouble(agent, "failed", "config-error", "bogusoption")
    done = agent.cli("reconnect", "web01", deadline_s=10.0)
    assert done.returncode == 1, done
    assert "bogusoption" in done.stderr, done
    in_trouble(agent, "failed", "config-error", "bogusoption")
    lab.ssh_config({"web01": SERVER})
    agent.wait_state("web01", "connected")


def test_a_missing_ssh_is_reported_and_found_by_reconnect(lab: Lab, agent: Agent) -> None:
    """`ssh-missing` names the program. Once it is installed, `reconnect` finds it without a restart."""
    server(lab)
    program = lab.files.root / "ssh"
    agent.env["TRAYAGENT_SSH"] = str(program)
    agent.start(CONFIG)
    in_trouble(agent, "failed", "ssh-missing", str(program))
    program.symlink_to(tool("ssh"))
    assert agent.cli("reconnect", "web01", deadline_s=10.0).returncode == 0
    agent.wait_state("web01", "connected")


@pytest.mark.parametrize("through", ["ssh -q", "LogLevel QUIET"])
def test_a_refusal_by_a_jump_host_whose_ssh_is_silenced_is_not_repeated(
    lab: Lab, agent: Agent, through: str
) -> None:
    """`ssh -q -W` and LogLevel QUIET hide the refusal from the user, but not from the agent."""
    server(lab)
    jump = lab.sshd(JUMP, config=["LogLevel VERBOSE"])
    way = (
        {"ProxyCommand": "ssh -q -W %h:%p jump 2>/dev/null"} if through == "ssh -q" else {"ProxyJump": "jump"}
    )
    quiet = {} if through == "ssh -q" else {"LogLevel": "QUIET"}
    lab.ssh_config({"jump": {"HostName": JUMP, **quiet}, "web01": {**SERVER, **way}})
    other_key(lab)
    agent.start(CONFIG)
    in_trouble(agent, "needs-sign-in", "auth-denied", "jump host", "refused")
    until("the server logged it", lambda: refusals(jump) > 0)
    stays("one login", lambda: refusals(jump) == 1)


def small_runtime_directory(lab: Lab, agent: Agent) -> str:
    """Mount a small file system on the agent's runtime directory, and return a file for `dd` to fill it with."""
    place = str(agent.runtime_dir)
    made = lab.laptop.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", place], admin=True)
    assert made.returncode == 0, made.stderr
    return f"{place}/full"


def test_a_full_runtime_directory_says_nothing_about_the_server(lab: Lab, agent: Agent) -> None:
    """While ssh cannot write its log, no login begins, nothing ends, and status and commands name the full disk."""
    sshd = server(lab)
    full = small_runtime_directory(lab, agent)
    agent.start(CONFIG)
    pid = agent.wait_state("web01", "connected")["pid"]
    lab.laptop.run(["dd", "if=/dev/zero", f"of={full}", "bs=4096"])
    before = asked(sshd)
    lab.switch("home", "cafe")
    in_trouble(agent, "failed", "disk-full", f"The disk with {agent.runtime_dir} is full")
    done = agent.cli("reconnect", "web01", deadline_s=10.0)
    assert (done.returncode, "is full" in done.stderr) == (1, True), done
    agent.env["SSH_ASKPASS_REQUIRE"] = "force"  # there is no terminal, but a login of the user begins
    done = agent.cli("login", "web01", deadline_s=10.0)
    assert (done.returncode, "is full" in done.stderr) == (1, True), done
    assert (agent.listed_host("web01")["pid"], asked(sshd)) == (pid, before)
    lab.laptop.run(["rm", full])
    lab.switch("cafe", "office")
    until("a new connection", lambda: agent.listed_host("web01")["pid"] not in {None, pid})
    assert agent.wait_state("web01", "connected")["problem"] is None


def test_a_login_that_fills_the_disk_counts_as_perhaps_refused(lab: Lab, agent: Agent) -> None:
    """A login without a log is ended although it succeeded. If it failed, it counts as refused."""
    sshd = server(lab)
    full = small_runtime_directory(lab, agent)
    program = lab.files.root / "ssh"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *" -E "*) cat /dev/zero >{full} 2>/dev/null ;; esac\nexec {tool("ssh")} "$@"\n'
    )
    program.chmod(0o755)
    agent.env["TRAYAGENT_SSH"] = str(program)
    agent.start(CONFIG)
    in_trouble(agent, "failed", "disk-full", "is full")
    assert (asked(sshd), refusals(sshd)) == (1, 0)
    until("the login is ended", lambda: not sshd.sessions())
    other_key(lab)
    # Leave first: otherwise this change of network would start a login, and the next change would cut it short.
    lab.leave("home")
    lab.laptop.run(["rm", full])
    lab.join("cafe")
    until("a refusal", lambda: refusals(sshd) == 1)
    in_trouble(agent, "failed", "disk-full", "is full")
    stays("one refusal", lambda: refusals(sshd) == 1)
    until("the refusal is recorded", lambda: len(agent.records()["hosts"]["web01"]["refused"]) == 1)


def test_refusals_are_remembered_although_the_disk_is_full(lab: Lab, agent: Agent) -> None:
    """Agents that start while the state directory is full make no second login, and print no traceback."""
    sshd = server(lab)
    other_key(lab)
    place = str(agent.state_dir)
    made = lab.laptop.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", place], admin=True)
    assert made.returncode == 0, made.stderr
    lab.laptop.run(["dd", "if=/dev/zero", f"of={place}/full", "bs=4096"])
    agent.start(CONFIG)
    in_trouble(agent, "needs-sign-in", "auth-denied")
    for end in (agent.kill9, agent.stop):
        end()
        agent.start()
        in_trouble(agent, "needs-sign-in", "auth-denied")
    stays("one login", lambda: asked(sshd) == 1)
    assert "Traceback" not in agent.log.read_text()
    lab.laptop.run(["rm", f"{place}/full"])
    agent.stop()
    agent.start()
    agent.cli("pause", "web01")
    agent.stop()
    assert "web01" in lab.laptop.run(["sh", "-c", f"cat {place}/agent*.json"]).stdout
    assert not list(agent.runtime_dir.glob("*.json"))
