"""The link on the server to the forwarded ssh-agent, which leads old tmux windows to the current connection."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.matrix import need, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.agent import END_DEADLINE_S
from trayagent.sandbox.lab_files import keygen
from trayagent.sandbox.node import Node

CONFIG = '[hosts.web01]\nagent_socket = "~/.ssh/agent.sock"\nsession = ["true"]\n'
SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C", "ForwardAgent": "yes"}


@pytest.fixture(autouse=True)
def sockets_are_removed(lab: Lab) -> Iterator[None]:
    """End sshd's sessions with SIGTERM, because killed ones leave their agent sockets in the machine's /tmp."""
    yield
    for server in lab.servers:
        server.end_sessions()


@contextmanager
def ssh_agent(lab: Lab, name: str, node: Node | None = None) -> Iterator[Path]:
    """Run an ssh-agent with one key, whose comment is the name; yield its socket."""
    node, socket = node or lab.laptop, lab.files.root / f"{name}.sock"
    key = lab.files.root / f"key-of-{name}"
    keygen(key)
    node.check(["ssh-keygen", "-q", "-c", "-C", name, "-f", str(key)])
    child = node.popen(["ssh-agent", "-D", "-a", str(socket)])
    try:
        until("the ssh-agent listens", socket.exists)
        node.check(["env", f"SSH_AUTH_SOCK={socket}", "ssh-add", "-q", str(key)])
        yield socket
    finally:
        child.terminate()
        child.wait(END_DEADLINE_S)


def link(lab: Lab) -> Path:
    """Return the path of the link on the server."""
    return lab.files.far_home / ".ssh" / "agent.sock"


def target(lab: Lab) -> str | None:
    """Return the target of the link."""
    return str(link(lab).readlink()) if link(lab).is_symlink() else None


def heard(lab: Lab) -> str:
    """Return the output of `ssh-add -l` through the link on the server. A silent ssh-agent gives ""."""
    words = ["env", f"SSH_AUTH_SOCK={link(lab)}", "timeout", "3", "ssh-add", "-l"]
    return lab.server.run(words).stdout


@dataclass(frozen=True, slots=True)
class Pane:
    """A shell in tmux on the server, whose SSH_AUTH_SOCK is the link and never changes."""

    lab: Lab

    def start(self) -> None:
        """Start the session, and leave it running."""
        self.lab.server.check(
            ["env", f"SSH_AUTH_SOCK={link(self.lab)}", "tmux", "new-session", "-d", "-s", "main", "sh"]
        )

    def says(self, command: str) -> str:
        """Type a command in the pane, and return its output."""
        out = self.lab.files.far_home / "said"
        out.unlink(missing_ok=True)
        typed = f"({command}) >{out}.new 2>&1; mv {out}.new {out}"
        self.lab.server.check(["tmux", "send-keys", "-t", "main", typed, "Enter"])
        until(f"{command} ends", out.exists)
        return out.read_text()

    def end(self) -> None:
        """End tmux."""
        self.lab.server.run(["tmux", "kill-server"])


def test_an_old_tmux_window_finds_the_agent_again_after_a_change_of_network(lab: Lab, agent: Agent) -> None:
    """After a killed master and a change of network, the same pane still reaches an ssh-agent."""
    need(shutil.which("tmux"), "tmux")
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    # A common setting; bash reads this file for every command that ssh runs.
    (lab.files.far_home / ".bashrc").write_text(
        "export SSH_AUTH_SOCK=~/.ssh/agent.sock\necho hello from bashrc\n"
    )
    pane = Pane(lab)
    with ssh_agent(lab, "mine") as socket:
        agent.env["SSH_AUTH_SOCK"] = str(socket)
        agent.start(CONFIG + 'remote = ["22221:localhost:22"]\n')
        pid = agent.wait_state("web01", "connected")["pid"]
        agent.wait_forwards("web01", {"remote": "open"})
        until("the link is there", lambda: target(lab))
        before = target(lab)
        pane.start()
        assert "mine" in pane.says("ssh-add -l")

        events = agent.events()
        lab.switch("home", "cafe")
        events.wait("connected", "web01")
        between, before = before, target(lab)
        assert before != between, "the link led to the replaced connection, which never answers"

        pid = agent.wait_state("web01", "connected")["pid"]
        os.kill(pid, signal.SIGKILL)
        lab.switch("cafe", "home")
        events.wait("connected", "web01")
        assert target(lab) != before, "the link led to the lost connection"
        assert "mine" in pane.says("timeout 5 ssh-add -l")
        agent.wait_forwards("web01", {"remote": "open"})
        assert agent.wait_state("web01", "connected")["problem"] is None
        decided = agent.cli("why", "web01").stdout
        assert decided.rindex("agent-socket") < decided.rindex("reap"), (
            "its clients lost the agent for a moment"
        )

        with always_there(lab):
            assert agent.cli("reconnect", "web01").returncode == 0
            agent.wait_state("web01", "connected")
        assert "mine" in pane.says("timeout 5 ssh-add -l")

        assert agent.cli("disconnect", "web01").returncode == 0
        assert target(lab) is None, "the link of a connection that has ended"
        pane.end()


@contextmanager
def always_there(lab: Lab) -> Iterator[None]:
    """Check that the link leads to a socket during the whole block."""
    look = f"echo; while sleep 0.005; do [ -S {link(lab)} ] || echo gone; done"
    child = lab.server.popen(["sh", "-c", look], stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    try:
        yield
    finally:
        child.terminate()
        said, _ = child.communicate(timeout=END_DEADLINE_S)
    assert said == "", "a moment without an agent"


@contextmanager
def second_laptop(lab: Lab) -> Iterator[tuple[Agent, Node]]:
    """Turn the office's gateway into a second laptop, with its own network, agent and control path."""
    node = Node("office", lab.laptop.world, "laptop", lab.laptop.env)
    config = lab.files.ssh / "config-second"
    config.write_text((lab.files.ssh / "config").read_text().replace("cm-%C", "second-%C"))
    config.chmod(0o600)
    with Agent(lab, node=node, name="agent-second") as agent:
        agent.env["TRAYAGENT_SSH_CONFIG"] = str(config)
        yield agent, node


def attached(agent: Agent, node: Node) -> None:
    """Attach from a laptop. The session ends a moment later."""
    words = shlex.join(agent.command("attach", "web01"))
    done = node.run(["script", "-qec", words, "/dev/null"], env=agent.env)
    assert done.returncode == 0, done.stdout


@pytest.mark.root  # `attach` needs a terminal, and only an sshd that runs as root can provide one
def test_two_laptops_take_turns_and_each_finds_its_own_agent_after_attaching(lab: Lab, agent: Agent) -> None:
    """The link changes to a laptop when its user attaches, not when it recovers. After a disconnect it changes back."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    with (
        ssh_agent(lab, "first") as one,
        second_laptop(lab) as (other, place),
        ssh_agent(lab, "second") as two,
    ):
        agent.env["SSH_AUTH_SOCK"] = str(one)
        other.env["SSH_AUTH_SOCK"] = str(two)
        agent.start(CONFIG)
        until("the first has it", lambda: "first" in heard(lab))
        other.start(CONFIG)
        other.wait_state("web01", "connected")
        until("the agent has decided", lambda: "agent-socket" in other.cli("why", "web01").stdout)
        assert "first" in heard(lab), "the link moved without an attach"

        attached(other, place)
        until("the second has it", lambda: "second" in heard(lab))
        lab.switch("home", "cafe")
        agent.wait_state("web01", "connected")
        until(
            "the first has checked after its recovery",
            lambda: agent.cli("why", "web01").stdout.count("=other") == 1,
        )
        assert "second" in heard(lab)
        attached(agent, lab.laptop)
        until("the first has it", lambda: "first" in heard(lab))
        attached(other, place)
        until("the second has it", lambda: "second" in heard(lab))

        assert other.cli("disconnect", "web01").returncode == 0
        until("the first has it again", lambda: "first" in heard(lab))


@pytest.mark.parametrize("there", ["file", "link"])
def test_nothing_is_replaced_that_is_no_link_to_an_agent_socket(lab: Lab, agent: Agent, there: str) -> None:
    """The user's own file or link stays unchanged, the host is connected, and `status` names the file."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    link(lab).parent.mkdir()
    if there == "file":
        link(lab).write_text("mine")
    else:
        link(lab).symlink_to("/run/user/0/keyring/ssh")
    with ssh_agent(lab, "mine") as socket:
        agent.env["SSH_AUTH_SOCK"] = str(socket)
        agent.start(CONFIG)
        agent.wait_state("web01", "connected")
        until("the problem is shown", lambda: agent.listed_host("web01")["problem"])
        problem = agent.wait_state("web01", "connected")["problem"]
        assert problem["code"] == "forward-failed"
        assert "~/.ssh/agent.sock" in problem["title"]
        assert "reconnect" in problem["hint"]
        assert "agent_socket" in agent.cli("why", "web01").stdout
    assert link(lab).read_text() == "mine" if there == "file" else target(lab) == "/run/user/0/keyring/ssh"


def test_the_link_follows_the_configuration_and_says_what_is_missing(lab: Lab, agent: Agent) -> None:
    """The agent removes the link when it is no longer configured. Without ForwardAgent, `status` names that option."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    with ssh_agent(lab, "mine") as socket:
        agent.env["SSH_AUTH_SOCK"] = str(socket)
        agent.start(CONFIG)
        agent.wait_state("web01", "connected")
        until("the link is there", lambda: target(lab))
        agent.configure("[hosts.web01]\n")
        until("the link is gone", lambda: target(lab) is None)
        lab.ssh_config({"web01": {**SERVER, "ForwardAgent": "no"}})
        agent.configure(CONFIG.replace("agent.sock", "it's an agent.sock"))
        until("the problem is shown", lambda: agent.listed_host("web01")["problem"])
        problem = agent.wait_state("web01", "connected")["problem"]
        assert "ForwardAgent yes" in problem["hint"]

        lab.ssh_config({"web01": SERVER})
        until("the problem is gone", lambda: agent.listed_host("web01")["problem"] is None)
        assert target(lab) is None
        assert (link(lab).parent / "it's an agent.sock").is_symlink(), (
            "this master forwards the agent the whole time"
        )
