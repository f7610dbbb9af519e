"""If the old master answers, a reconnect keeps its sessions and forwarded connections until they end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.lab.agent.test_reconnect_if_down import SERVER
from tests.lab.masters.test_adoption import BY_HAND
from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import JUMP, OTHER


class Session:
    """A session through the master that echoes each line."""

    def __init__(self, lab: Lab, *options: str) -> None:
        pipe = subprocess.PIPE
        words = ["ssh", *options, "web01", "echo up; exec cat"]
        self._child = lab.laptop.popen(words, stdin=pipe, stdout=pipe)
        assert self._line() == "up\n"

    def _line(self) -> str:
        assert self._child.stdout is not None
        return str(self._child.stdout.readline())

    def types(self, line: str) -> None:
        """Send a line."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{line}\n")
        self._child.stdin.flush()

    def reads(self) -> str:
        """Wait for the next line and return it."""
        return self._line().rstrip("\n")

    def echoes(self) -> bool:
        """Report whether the session echoes a line."""
        self.types("line")
        return self.reads() == "line"

    def end(self) -> int:
        """Close the session's input, and return ssh's exit status."""
        self._child.communicate(timeout=20)
        return self._child.returncode

    def ended(self) -> int:
        """Wait until the session ends, and return ssh's exit status."""
        return self._child.wait(20)


def connected(lab: Lab, agent: Agent, table: str = "") -> int:
    """Connect web01 from home; return the master's pid."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.start(f"[hosts.web01]\n{table}")
    return int(agent.wait_state("web01", "connected")["pid"])


def test_open_sessions_go_on_beside_the_new_connection(lab: Lab, agent: Agent) -> None:
    """`status` shows the number of old sessions.

    New sessions use the new master; the old one ends with its last session.
    """
    old = connected(lab, agent)
    events = agent.events()
    first, second = Session(lab), Session(lab)
    done = agent.cli("reconnect", "web01")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("; 2 sessions continue through the old connection\n")
    assert events.wait("draining", "web01")["sessions"] == 2
    host = agent.wait_state("web01", "connected")
    assert host["pid"] != old
    (draining,) = host["draining"]
    assert (draining["pid"], draining["sessions"], draining["connections"]) == (old, 2, 0)
    assert "2 sessions still use the connection made at " in agent.cli("status").stdout
    assert first.echoes()
    third = Session(lab)
    assert first.end() == 0
    assert "1 session still uses the connection made at " in agent.cli("status").stdout
    assert second.echoes()
    assert second.end() == 0
    drained = events.wait("drained", "web01")
    assert (drained["pid"], drained["killed"]) == (old, False)
    assert agent.wait_state("web01", "connected")["draining"] == []
    assert third.echoes()
    assert third.end() == 0
    assert "the sessions of the old connection continue" in agent.cli("why", "web01").stdout


def until_drained(agent: Agent) -> None:
    """Wait until no earlier connection of the host drains any more."""
    until("nothing drains", lambda: not agent.wait_state("web01", "connected")["draining"])


@pytest.mark.parametrize("how", ["in the background", "with a shell of its own"])
def test_a_master_started_by_hand_drains_as_well(lab: Lab, agent: Agent, how: str) -> None:
    """The session that became the master continues, too. When the old master ends, the new master's socket stays."""
    lab.join("home")
    lab.sshd()
    persist = "5m" if how == "in the background" else "no"
    lab.ssh_config({"web01": {**BY_HAND, "ControlPersist": persist}})
    agent.start("")
    events = agent.events()
    session = Session(lab)
    old = events.wait("master-adopted", "web01")
    done = agent.cli("reconnect", "web01")
    assert done.stdout.endswith("; 1 session continues through the old connection\n"), done.stderr
    new = agent.wait_state("web01", "connected")
    assert new["control_path"] == old["control_path"]
    assert session.echoes()
    second = Session(lab)
    assert session.end() == 0
    assert events.wait("drained", "web01")["killed"] is False
    until_drained(agent)
    assert second.echoes()
    assert Session(lab).end() == second.end() == 0
    check = lab.laptop.run(["ssh", "-O", "check", "web01"])
    assert f"pid={new['pid']}" in check.stderr


@pytest.mark.parametrize("started", ["by the agent", "by hand"])
def test_no_client_fails_while_the_user_reconnects_again_and_again(
    lab: Lab, agent: Agent, started: str
) -> None:
    """All clients in a loop succeed, and so do sessions that outlast several reconnects."""
    lab.join("home")
    lab.sshd(config=["MaxStartups 100", "MaxSessions 20"])
    lab.ssh_config({"web01": SERVER if started == "by the agent" else BY_HAND})
    agent.start("[hosts.web01]\n" if started == "by the agent" else "")
    sessions = []
    if started == "by hand":
        sessions.append(Session(lab))
    agent.wait_state("web01", "connected")
    failed: list[str] = []
    done = threading.Event()

    def hammer() -> None:
        while not done.is_set():
            result = lab.laptop.run(["ssh", "web01", "echo up"])
            if (result.returncode, result.stdout) != (0, "up\n"):
                failed.append(f"{result.returncode} {result.stderr}")

    threads = [threading.Thread(target=hammer) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            sessions.append(Session(lab))
            assert agent.cli("reconnect", "web01").returncode == 0
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert not failed
    assert all(session.echoes() for session in sessions)
    assert [session.end() for session in sessions] == [0] * len(sessions)
    until_drained(agent)


def test_connections_through_forwards_go_on_and_new_ones_use_the_new_master(lab: Lab, agent: Agent) -> None:
    """Connections through -L and -R continue on the old master, and both ports are open again on the new one."""
    lab.join("home")
    server = lab.sshd(config=["LogLevel VERBOSE"])
    lab.traffic_service(8001)
    lab.echo(8000, node=lab.laptop)
    lab.ssh_config({"web01": SERVER})
    agent.start('[hosts.web01]\nlocal = ["9001:127.0.0.1:8001"]\nremote = ["22221:127.0.0.1:8000"]\n')
    agent.wait_forwards("web01", {"local": "open", "remote": "open"})
    events = agent.events()
    words = [sys.executable, "-I", "-S", "-c", VISITOR]
    visitor = lab.server.popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert visitor.stdin is not None
    assert visitor.stdout is not None
    assert visitor.stdout.readline() == "one\n"
    with lab.traffic("down", port=9001) as traffic:
        traffic.wait(1)
        done = agent.cli("reconnect", "web01")
        assert done.stdout.endswith("; 2 forwarded connections continue through the old connection\n"), (
            done.stderr
        )
        agent.wait_forwards("web01", {"local": "open", "remote": "open"})
        traffic.wait(1_000_000)
        print("two", file=visitor.stdin, flush=True)
        assert visitor.stdout.readline() == "two\n"
        with lab.probe(22221, node=lab.server) as probe:
            probe.release()
            assert probe.result() > 0
        with lab.traffic("down", port=9001) as later:
            later.wait(1)
    visitor.communicate("", timeout=20)
    events.wait("drained", "web01")
    assert "Address already in use" not in server.said()
    assert not [e for e in events.seen if e["event"] == "forward-failed"]


VISITOR = """import socket, sys
s = socket.create_connection(("127.0.0.1", 22221))
f = s.makefile("rw")
print("one", file=f, flush=True)
print(f.readline(), end="", flush=True)
for line in sys.stdin:
    print(line, end="", file=f, flush=True)
    print(f.readline(), end="", flush=True)
"""


def test_an_upload_that_fills_the_line_goes_on(lab: Lab, agent: Agent) -> None:
    """An upload continues although the old master's answer waits behind seconds of data.

    All bytes arrive, with status 0.
    """
    connected(lab, agent)
    lab.set_bandwidth(1, queue_bytes=32_000)
    words = ["sh", "-c", "head -c 3000000 /dev/zero | ssh web01 'wc -c'"]
    upload = lab.laptop.popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until("the queue is full", lambda: lab.carried()["home"]["queued_up"] > 16_000, 40)
    done = agent.cli("reconnect", "web01", deadline_s=60)
    assert done.stdout.endswith("; 1 session continues through the old connection\n"), done.stderr
    lab.set_bandwidth(None)
    out, err = upload.communicate(timeout=60)
    assert (upload.returncode, out.strip()) == (0, "3000000"), err


@pytest.mark.parametrize("end", ["kill9", "stop"])
def test_the_next_agent_goes_on_with_what_drains(lab: Lab, agent: Agent, end: str) -> None:
    """The next agent shows the old sessions, ends none of them, and forgets the old master once that has ended."""
    old = connected(lab, agent)
    session = Session(lab)
    assert agent.cli("reconnect", "web01").returncode == 0
    new = agent.wait_state("web01", "connected")["pid"]
    if end == "kill9":
        agent.kill9()
    else:
        agent.stop()
    agent.start()
    host = agent.wait_state("web01", "connected")
    assert host["pid"] == new
    assert [(one["pid"], one["sessions"]) for one in host["draining"]] == [(old, 1)]
    events = agent.events()
    assert session.echoes()
    assert session.end() == 0
    assert events.wait("drained", "web01")["pid"] == old
    assert agent.records()["draining"] == {}


def test_an_end_while_no_agent_runs_is_noticed(lab: Lab, agent: Agent) -> None:
    """If the draining master ends while no agent runs, the next agent forgets it and shows no draining connection."""
    connected(lab, agent)
    session = Session(lab)
    assert agent.cli("reconnect", "web01").returncode == 0
    agent.kill9()
    assert session.end() == 0
    agent.start()
    assert agent.wait_state("web01", "connected")["draining"] == []
    assert agent.records()["draining"] == {}


def test_two_connections_may_drain_at_once(lab: Lab, agent: Agent) -> None:
    """Each of two draining masters keeps its own sessions. `disconnect` ends all of them."""
    connected(lab, agent)
    first = Session(lab)
    assert agent.cli("reconnect", "web01").returncode == 0
    second = Session(lab)
    assert agent.cli("reconnect", "web01").returncode == 0
    third = Session(lab)
    draining = agent.wait_state("web01", "connected")["draining"]
    assert [one["sessions"] for one in draining] == [1, 1]
    assert all(session.echoes() for session in (first, second, third))
    assert agent.cli("disconnect", "web01").returncode == 0
    assert [session.ended() for session in (first, second, third)] == [255] * 3
    host = agent.wait_state("web01", "idle")
    assert (host["pid"], host["draining"]) == (None, [])


def test_now_ends_earlier_connections_too(lab: Lab, agent: Agent) -> None:
    """`reconnect --now` also ends the host's earlier connections."""
    connected(lab, agent)
    sessions = [Session(lab)]
    assert agent.cli("reconnect", "web01").returncode == 0
    sessions.append(Session(lab))
    done = agent.cli("reconnect", "--now", "web01")
    assert done.stdout.endswith("; 1 session through the old connection ended\n")
    assert [session.ended() for session in sessions] == [255, 255]
    until_drained(agent)


@pytest.mark.parametrize("how", ["ssh -O stop", "rm"])
def test_a_master_without_a_socket_keeps_its_sessions(lab: Lab, agent: Agent, how: str) -> None:
    """A master that was told to stop listening or lost its socket still answers through the sentinel, so it drains."""
    old = connected(lab, agent)
    session = Session(lab)
    if how == "rm":
        Path(agent.wait_state("web01", "connected")["control_path"]).unlink()
    else:
        lab.laptop.run(["ssh", "-O", "stop", "web01"])
    done = agent.cli("reconnect", "web01")
    assert done.stdout.endswith("; 1 session continues through the old connection\n"), done
    assert session.echoes()
    assert Session(lab).end() == 0
    host = agent.wait_state("web01", "connected")
    assert [(one["pid"], one["sessions"]) for one in host["draining"]] == [(old, 1)]
    assert session.end() == 0
    until("nothing drains", lambda: not agent.wait_state("web01", "connected")["draining"], 40)
    assert agent.records()["draining"] == {}


def test_exit_ends_only_the_new_connection(lab: Lab, agent: Agent) -> None:
    """After `ssh -O exit` the host stays down, and the session on the old master continues."""
    connected(lab, agent)
    session = Session(lab)
    assert agent.cli("reconnect", "web01").returncode == 0
    lab.laptop.run(["ssh", "-O", "exit", "web01"])
    assert [one["sessions"] for one in agent.wait_state("web01", "idle")["draining"]] == [1]
    assert session.echoes()
    assert session.end() == 0


def test_a_connection_that_does_not_answer_is_replaced(lab: Lab, agent: Agent) -> None:
    """If the old connection does not answer, its sessions end, as with `--now`, so that no terminal hangs."""
    old = connected(lab, agent)
    session = Session(lab)
    lab.suspend([old])
    done = agent.cli("reconnect", "web01")
    assert done.stdout.endswith("; 1 session through the old connection ended\n"), done.stderr
    assert session.ended() == 255
    assert agent.wait_state("web01", "connected")["draining"] == []


def test_a_draining_connection_is_ended_when_another_network_proves_it_stale(lab: Lab, agent: Agent) -> None:
    """A short loss of the link ends neither connection.

    After a move, the current one is replaced and the draining one ended.
    """
    old = connected(lab, agent)
    session = Session(lab)
    assert agent.cli("reconnect", "web01").returncode == 0
    events = agent.events()
    lab.link_down()
    agent.wait_state("web01", "offline")
    lab.link_up()
    agent.wait_state("web01", "connected")
    assert session.echoes()
    lab.switch("home", "cafe")
    drained = events.wait("drained", "web01")
    assert (drained["pid"], drained["killed"]) == (old, True)
    assert session.ended() == 255
    assert agent.wait_state("web01", "connected")["local"].startswith("10.20.")
    assert [e["pid"] for e in events.seen if e["event"] == "master-stale"] != [old]


def test_hosts_behind_a_reconnected_jump_host_stay_connected(lab: Lab, agent: Agent) -> None:
    """The jump host's old connection drains as long as it carries the masters of the hosts behind it."""
    lab.join("home")
    lab.sshd(JUMP)
    lab.sshd(OTHER)
    control = {"ControlPath": "~/.ssh/cm-%C"}
    lab.ssh_config(
        {"web01": {**control, "HostName": OTHER, "ProxyJump": "door"}, "door": {**control, "HostName": JUMP}}
    )
    agent.start("[hosts.door]\n[hosts.web01]\n")
    inner = agent.wait_state("web01", "connected")["pid"]
    session = Session(lab)
    done = agent.cli("reconnect", "door")
    assert done.stdout.endswith("; 1 session continues through the old connection\n"), done.stderr
    assert session.echoes()
    assert agent.wait_state("web01", "connected")["pid"] == inner
    assert session.end() == 0


def edit_records(agent: Agent, **parts: dict[str, object]) -> None:
    """Add entries to the records. No agent may run."""
    record = agent.records()
    for part, entries in parts.items():
        record[part] = {**record.get(part, {}), **entries}
    agent.records_file.write_text(json.dumps(record))


def kept_draining(agent: Agent, pid: int, second_name: str) -> dict[str, object]:
    """Return the record that the agent writes just before it lets the host's master drain."""
    known = agent.records()["masters"][str(pid)]
    shared = {key: known[key] for key in ("host", "start", "boot", "path", "host_key", "target")}
    return {**shared, "made_at": time.time(), "second_name": second_name, "ours": True}


def test_an_agent_that_ended_before_the_swap_left_a_master_that_does_not_drain(
    lab: Lab, agent: Agent
) -> None:
    """If the agent died before the swap, the next one finds the master on its path, and keeps it."""
    pid = connected(lab, agent)
    session = Session(lab)
    path = str(agent.wait_state("web01", "connected")["control_path"])
    agent.kill9()
    lab.laptop.run(["ln", path, f"{path}.zz"])
    edit_records(agent, draining={str(pid): kept_draining(agent, pid, f"{path}.zz")})
    agent.start()
    host = agent.wait_state("web01", "connected")
    assert (host["pid"], host["draining"]) == (pid, [])
    assert agent.records()["draining"] == {}
    assert lab.laptop.run(["test", "-e", f"{path}.zz"]).returncode == 1
    assert session.echoes()


def test_an_agent_that_ended_right_after_the_swap_is_followed_by_one_that_stops_the_master(
    lab: Lab, agent: Agent
) -> None:
    """If the agent died after the swap, the next one keeps both masters, and the old one drains."""
    old = connected(lab, agent)
    session = Session(lab)
    path = str(agent.wait_state("web01", "connected")["control_path"])
    agent.kill9()
    new = ["ssh", "-M", "-S", f"{path}.new", "-o", "ControlPersist=600", "web01", "true"]
    assert lab.laptop.run(new).returncode == 0
    lab.laptop.run(["ln", path, f"{path}.zz"])
    lab.laptop.run(["mv", f"{path}.new", path])
    kept = kept_draining(agent, old, f"{path}.zz")
    begun = {"host": "web01", "target": path, "log": "/nowhere/attempt.log", "boot": kept["boot"]}
    edit_records(agent, draining={str(old): kept}, attempts={f"{path}.new": begun})
    agent.start()
    host = agent.wait_state("web01", "connected")
    assert host["pid"] != old
    assert [(one["pid"], one["sessions"]) for one in host["draining"]] == [(old, 1)]
    events = agent.events()
    assert session.echoes()
    assert session.end() == 0
    assert events.wait("drained", "web01")["killed"] is False
    assert agent.wait_state("web01", "connected")["pid"] == host["pid"]


def test_a_paused_host_stays_paused_in_the_next_agent(lab: Lab, agent: Agent) -> None:
    """If an unlisted host is paused while its earlier connection drains, the next agent keeps it paused."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": BY_HAND})
    agent.start()
    master = lab.laptop.popen(["ssh", "-M", "-N", "web01"])
    agent.wait_state("web01", "connected")
    session = Session(lab)
    assert agent.cli("reconnect", "web01").returncode == 0
    assert agent.cli("pause", "web01").returncode == 0
    agent.wait_state("web01", "paused")
    agent.kill9()
    agent.start()
    assert agent.wait_state("web01", "paused")["draining"]
    assert session.end() == 0
    assert master.wait(20) is not None


def test_a_jump_host_keeps_the_session_behind_its_master_of_proxyjump(lab: Lab, agent: Agent) -> None:
    """With ControlMaster auto, ProxyJump's `ssh -W` is the jump host's master.

    A reconnect keeps the session behind it.
    """
    lab.join("home")
    lab.sshd(JUMP)
    lab.sshd(OTHER)
    auto = {"ControlMaster": "auto", "ControlPath": "~/.ssh/cm-%C"}
    inner = {"HostName": OTHER, "ProxyJump": "jump", "ControlPath": "none"}
    lab.ssh_config({"jump": {"HostName": JUMP, **auto}, "web01": inner})
    session = Session(lab)
    agent.start("[hosts.jump]\n")
    old = agent.wait_state("jump", "connected")["pid"]
    events = agent.events()
    assert agent.cli("reconnect", "jump").returncode == 0
    assert agent.wait_state("jump", "connected")["pid"] != old
    assert session.echoes()
    assert session.end() == 0
    events.wait("drained", "jump")
