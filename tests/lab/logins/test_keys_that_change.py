"""Keys that change while a master lives: the agent tests them with a login before the master has to be replaced."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.logins.test_logins import CONFIG, SERVER, asked, other_key, refusals, server, stays, use_key
from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab, Sshd
from trayagent.sandbox.agent import END_DEADLINE_S
from trayagent.sandbox.lab_files import keygen


def why(agent: Agent) -> str:
    """Return the last decisions about the host."""
    return agent.cli("why", "web01").stdout


def up(lab: Lab, agent: Agent, *config: str) -> tuple[Sshd, int]:
    """Connect the host. Return the server and the master's pid."""
    sshd = server(lab, *config)
    agent.start(CONFIG)
    return sshd, int(agent.wait_state("web01", "connected")["pid"])


def problem(agent: Agent) -> dict[str, Any] | None:
    """Return the problem of the host. The host must be connected."""
    found: dict[str, Any] | None = agent.wait_state("web01", "connected")["problem"]
    return found


def test_a_failed_key_rotation_is_reported_while_the_old_connection_lives(lab: Lab, agent: Agent) -> None:
    """If the server does not accept the laptop's new key, one login detects that, and the connection stays.

    The agent shows a warning until the right key is there. `reconnect` then uses the right key.
    """
    sshd, pid = up(lab, agent)
    events = agent.events()
    right = other_key(lab)
    wrong = lab.files.root / "wrong"
    keygen(wrong)
    use_key(lab, wrong)
    until("the problem is shown", lambda: problem(agent))
    said = problem(agent)
    assert said is not None
    assert said["code"] == "auth-denied"
    assert "refuses new logins" in said["title"]
    assert "trayagent reconnect web01" in said["hint"]
    assert "keys-refused" in why(agent)
    assert refusals(sshd) == 1
    assert events.wait("sign-in-needed", "web01")["code"] == "auth-denied"
    assert agent.listed_host("web01")["pid"] == pid

    use_key(lab, right)
    until("the problem is gone", lambda: problem(agent) is None)
    assert agent.listed_host("web01")["pid"] == pid
    assert agent.cli("reconnect", "web01").returncode == 0
    assert agent.wait_state("web01", "connected")["pid"] != pid
    told = [e for e in events.drain() if e["event"] == "sign-in-needed"]
    assert len(told) == 1


def test_a_restart_does_not_mistake_an_older_login_for_one_with_a_password(lab: Lab, agent: Agent) -> None:
    """The next agent knows that the user's master is older than the refused login. It logs in once the key is right."""
    sshd = server(lab)
    start = ["ssh", "-F", agent.env["TRAYAGENT_SSH_CONFIG"], "-M", "-N", "-f", "web01"]
    lab.laptop.check(start)
    agent.start(CONFIG)
    pid = agent.wait_state("web01", "connected")["pid"]
    right = other_key(lab)
    wrong = lab.files.root / "wrong"
    keygen(wrong)
    use_key(lab, wrong)
    until("the problem is shown", lambda: problem(agent))
    agent.stop()
    agent.start()
    said = problem(agent)
    assert said is not None
    assert said["code"] == "auth-denied"
    assert agent.wait_state("web01", "connected")["pid"] == pid

    use_key(lab, right)
    until("the problem is gone", lambda: problem(agent) is None)
    sshd.stop(sessions=True)
    sshd.start()
    until("a new connection", lambda: agent.wait_state("web01", "connected")["pid"] != pid)


def test_reconnect_reports_that_the_new_key_is_refused_and_keeps_the_connection(
    lab: Lab, agent: Agent
) -> None:
    """If only the server changed, there is no key trial. `reconnect` detects the refusal, and the connection stays."""
    sshd, pid = up(lab, agent)
    other_key(lab)
    stays("no login", lambda: asked(sshd) == 1)
    done = agent.cli("reconnect", "web01")
    assert done.returncode == 1
    assert agent.wait_state("web01", "connected")["pid"] == pid


def test_a_key_that_is_written_again_as_it_was_is_not_tried(lab: Lab, agent: Agent) -> None:
    """A backup, a sync or `touch` is not a rotation: the agent makes no login."""
    sshd, _ = up(lab, agent)
    same = lab.files.root / "same"
    for suffix in ("", ".pub"):
        shutil.copy(lab.files.key.with_name(lab.files.key.name + suffix), f"{same}{suffix}")
    use_key(lab, same)
    lab.files.key.touch()
    stays("no login", lambda: asked(sshd) == 1, 3.0)


def test_keys_that_change_all_the_time_beside_a_connection_are_refused_twice_at_most(
    lab: Lab, agent: Agent
) -> None:
    """A script that changes keys all the time causes at most two refused logins. The connection stays."""
    sshd, pid = up(lab, agent)
    for number in range(3):
        key = lab.files.root / f"wrong-{number}"
        keygen(key)
        use_key(lab, key)
        until("the change was detected", lambda count=number: why(agent).count("try-keys") > count)  # type: ignore[misc]
        until("the login was refused", lambda count=number: refusals(sshd) == min(count + 1, 2))  # type: ignore[misc]
    stays("at most 2 logins", lambda: refusals(sshd) <= 2)
    assert agent.wait_state("web01", "connected")["pid"] == pid


@contextmanager
def ssh_agent(lab: Lab, *asking: str) -> Iterator[dict[str, str]]:
    """Run an ssh-agent in the laptop. `asking` is the command line of the program that answers its confirmations."""
    socket = lab.files.root / "agent"
    env = {"SSH_AUTH_SOCK": str(socket)}
    asks = {"SSH_ASKPASS": asking[0], "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":9"} if asking else {}
    child = lab.laptop.popen(["ssh-agent", "-D", "-a", str(socket)], env=asks)
    try:
        until("the ssh-agent listens", socket.exists)
        yield env
    finally:
        child.terminate()
        child.wait(END_DEADLINE_S)


def encrypt(lab: Lab, key: Path) -> None:
    """Give a key a passphrase."""
    lab.laptop.check(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(key)])


@pytest.mark.parametrize("holds", ["nothing", "locked", "the old key"])
def test_a_key_that_only_the_user_can_unlock_is_not_tried(lab: Lab, agent: Agent, holds: str) -> None:
    """If a key is encrypted and not in the ssh-agent, the agent makes no key trial, and `why` shows the reason."""
    with ssh_agent(lab) as env:
        agent.env.update(env)
        if holds != "nothing":
            assert lab.laptop.popen(["ssh-add", "-q", str(lab.files.key)], env=env).wait(END_DEADLINE_S) == 0
        sshd, _ = up(lab, agent)
        if holds == "locked":
            asks = script(lab, "echo secret")
            lock = {**env, "SSH_ASKPASS": asks, "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":9"}
            assert lab.laptop.popen(["ssh-add", "-x"], env=lock).wait(END_DEADLINE_S) == 0
        before = asked(sshd)
        key = lab.files.root / "new"
        keygen(key)
        encrypt(lab, key)
        use_key(lab, key)
        until("the decision is shown", lambda: "keys-not-tried" in why(agent))
        assert asked(sshd) == before
        assert problem(agent) is None


def script(lab: Lab, text: str) -> str:
    """Write a program."""
    path = lab.files.root / f"script-{abs(hash(text))}"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_key_of_the_ssh_agent_is_offered_without_a_signature(
    lab: Lab, agent: Agent, accepted: bool
) -> None:
    """A key trial learns whether the server accepts a key without a signature, so the user need not confirm its use."""
    questions = lab.files.root / "questions"
    questions.touch()
    with ssh_agent(lab, script(lab, f"echo asked >>{questions}")) as env:
        sshd = server(lab)
        lab.ssh_config({"web01": {**SERVER, "IdentityAgent": env["SSH_AUTH_SOCK"]}})
        agent.start(CONFIG)
        pid = agent.wait_state("web01", "connected")["pid"]
        new = lab.files.root / "new"
        keygen(new)
        assert lab.laptop.popen(["ssh-add", "-q", "-c", str(new)], env=env).wait(END_DEADLINE_S) == 0
        if accepted:
            shutil.copy(new.with_suffix(".pub"), lab.files.authorized_keys)
        else:
            other_key(lab)
        encrypt(lab, new)
        use_key(lab, new)
        until("it was tried", lambda: "keys-pass" in why(agent) or "keys-refused" in why(agent))
        assert ("keys-pass" in why(agent)) is accepted
        assert (problem(agent) is None) is accepted
        assert agent.listed_host("web01")["pid"] == pid
        assert sshd.logins() == 1
    assert questions.read_text() == ""


def test_an_agent_that_dies_in_a_trial_leaves_none_behind(lab: Lab, agent: Agent) -> None:
    """The next agent ends the key trial of a killed agent, because that login would wait forever."""
    _, pid = up(lab, agent)
    lab.blackhole(True)
    key = lab.files.root / "new"
    keygen(key)
    use_key(lab, key)
    until("the trial runs", lambda: trials(lab))
    agent.kill9()
    assert trials(lab)
    agent.start()
    assert not trials(lab)
    assert agent.listed_host("web01")["pid"] == pid


def trials(lab: Lab) -> list[int]:
    """Return the pids of key trials."""
    words = [(pid, Path(f"/proc/{pid}/cmdline")) for pid in lab.laptop.pids()]
    return [pid for pid, path in words if path.exists() and "trayagent-trial" in path.read_text()]
