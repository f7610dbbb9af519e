"""The agent on machines where inotify, disk space or a writable home are missing."""

from __future__ import annotations

import contextlib
import json
import os

import pytest

from tests.lab.matrix import HOST, OPTIONS, alive, until
from trayagent.ipc import blocking_client, messages
from trayagent.ipc.server import MOST_WATCHERS
from trayagent.sandbox import Agent, Lab

CONFIG = f"[hosts.{HOST}]\n"


@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_without_inotify_the_agent_works_and_doctor_says_what_it_misses(
    lab: Lab, agent: Agent, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """It connects and recovers, writes one line about it, and doctor names the limit and the command that raises it."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: OPTIONS})
    # The limits belong to a user namespace, so give the agent and the commands one of their own.
    script = f'echo 0 >/proc/sys/user/{limit} && exec "$@"'
    ids = [f"--map-user={os.getuid()}", f"--map-group={os.getgid()}"]
    under = ["unshare", "--user", *ids, "--keep-caps", "sh", "-c", script, "sh"]
    monkeypatch.setattr(agent, "command", lambda *args: [*under, *Agent.command(*args)])
    agent.start(CONFIG)
    pid = agent.wait_state(HOST, "connected")["pid"]
    events = agent.events()
    lab.switch("home", "cafe")
    events.wait("connected", HOST)
    assert not alive(pid)
    log = (agent.state_dir / "agent.log").read_text()
    assert log.count("fs.inotify") == 1, log
    assert "Traceback" not in log
    found = json.loads(agent.cli("doctor", "--json").stdout)
    (finding,) = [f for f in found["findings"] if f["code"] == "inotify-limit"]
    assert finding["lines"][0].startswith(f"sudo sysctl fs.inotify.{limit.replace('inotify', 'user')}=")


def test_a_full_state_directory_causes_one_line_in_the_log(lab: Lab, agent: Agent) -> None:
    """However often the agent fails to write there, it says so once. The journal gets no traceback."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: OPTIONS})
    place = agent.state_dir
    done = lab.laptop.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(place)], admin=True)
    assert done.returncode == 0, done.stderr
    agent.start(CONFIG)
    agent.wait_state(HOST, "connected")
    # A page is free now and then, so that some lines get into the log.
    lab.laptop.run(["sh", "-c", f"cat /dev/zero >{place}/full; truncate -s -8192 {place}/full"])
    events = agent.events()
    for _ in range(2):
        assert agent.cli("reconnect", HOST, "--now").returncode == 0
        events.wait("connected", HOST)
        lab.laptop.run(["sh", "-c", f"cat /dev/zero >>{place}/full"])
    log = lab.laptop.run(["cat", f"{place}/agent.log"]).stdout
    assert log.count("cannot be written") <= 1, log
    assert log.count("no longer recorded") <= 1, log
    assert not agent.log.read_text().strip()
    lab.laptop.run(["rm", f"{place}/full"])
    pid = agent.wait_state(HOST, "connected")["pid"]
    agent.stop()
    assert f'"{pid}"' in lab.laptop.run(["sh", "-c", f"cat {place}/agent-*.json"]).stdout


def test_with_a_read_only_home_a_host_without_control_path_is_kept(lab: Lab, agent: Agent) -> None:
    """The agent starts, logs to stderr and recovers the host. Doctor says what it cannot remember."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: {"HostName": OPTIONS["HostName"]}, "web02": OPTIONS})
    agent.configure(f"{CONFIG}[hosts.web02]\n")
    home = lab.files.home
    # Its own output is the only file that stays writable.
    script = f"mount --bind {home} {home} && mount -o remount,bind,ro {home}"
    done = lab.laptop.run(["sh", "-c", script], admin=True)
    assert done.returncode == 0, done.stderr
    agent.start()
    pid = agent.wait_state(HOST, "connected")["pid"]
    problem = agent.wait_state("web02", "failed")["problem"]
    assert "Read-only" in problem["title"], problem
    assert agent.log.read_text().count("agent.log cannot be written") == 1
    lab.switch("home", "cafe")
    until("a new master", lambda: agent.listed_host(HOST)["pid"] not in {None, pid})
    agent.wait_state(HOST, "connected")
    agent.kill9()
    agent.start()
    agent.wait_state(HOST, "connected")
    assert agent.log.read_text().count(".json cannot be written") <= 2
    found = json.loads(agent.cli("doctor", "--json").stdout)["findings"]
    assert "folder-read-only" in {f["code"] for f in found}
    assert "Traceback" not in agent.log.read_text()


def test_too_many_watchers_lock_no_command_out(lab: Lab, agent: Agent) -> None:
    """With as many watchers as the agent allows and one more, the commands work as before."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({HOST: OPTIONS})
    agent.start(CONFIG)
    agent.wait_state(HOST, "connected")
    path = str(agent.runtime_dir / "agent.sock")
    with contextlib.ExitStack() as open_ones:
        for number in range(MOST_WATCHERS):
            op = "watch" if number % 2 else "events"
            watcher = open_ones.enter_context(blocking_client.connected(path))
            watcher.sendall(messages.request(op, {"hosts": []} if number % 2 else {}, {}))
            messages.read_reply(open_ones.enter_context(watcher.makefile("rb")).readline(), "result")
        one_more = agent.cli("status", "--watch")
        assert (one_more.returncode, "Too many watchers" in one_more.stderr) == (1, True), one_more
        assert agent.cli("status").returncode == 0
        assert agent.cli("reconnect", HOST).returncode == 0
        assert agent.cli("stop").returncode == 0
