"""Changes to the configuration of a running agent: the agent applies only the differences."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from tests.lab.matrix import until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import OTHER

SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
ONE = '[hosts.web01]\nlocal = ["9000:127.0.0.1:8000"]\n'
TWO = '[hosts.web01]\nlocal = ["9000:127.0.0.1:8000", "9001:127.0.0.1:8000"]\n'


def connected(lab: Lab, agent: Agent, config: str = ONE) -> int:
    """Bring web01 up at home; return its pid."""
    lab.join("home")
    lab.sshd()
    lab.echo(8000)
    lab.ssh_config({"web01": SERVER})
    agent.start(config)
    view = agent.wait_state("web01", "connected")
    agent.wait_forwards("web01", {"local": "open"})
    return int(view["pid"])


def listening(lab: Lab, port: int) -> bool:
    """Report whether a program in the laptop listens on the port."""
    return bool(lab.laptop.run(["ss", "-Hltn", f"sport = :{port}"]).stdout.strip())


def test_a_new_forward_opens_without_a_reconnect_and_a_removed_one_closes(lab: Lab, agent: Agent) -> None:
    """Adding and removing a forward changes the running master's forwards, not its pid."""
    pid = connected(lab, agent)
    agent.configure(TWO)
    until("9001 listens", lambda: listening(lab, 9001))
    agent.configure(ONE)
    until("9001 is closed", lambda: not listening(lab, 9001))
    assert listening(lab, 9000)
    assert agent.wait_state("web01", "connected")["pid"] == pid


def test_a_forward_added_to_ssh_config_opens_without_a_reconnect(lab: Lab, agent: Agent) -> None:
    """An edited ~/.ssh/config is resolved again."""
    pid = connected(lab, agent)
    lab.ssh_config({"web01": {**SERVER, "LocalForward": "9002 127.0.0.1:8000"}})
    until("9002 listens", lambda: listening(lab, 9002))
    assert agent.wait_state("web01", "connected")["pid"] == pid


def test_a_bad_configuration_is_reported_and_the_old_one_stays(lab: Lab, agent: Agent) -> None:
    """At reload, the error names the unknown key, and the existing forwards stay open."""
    pid = connected(lab, agent)
    events = agent.events()
    agent.configure(ONE + "forwards = []\n")
    rejected = events.wait("configuration-rejected")
    assert "forwards" in rejected["reason"]
    assert str(agent.config) in rejected["reason"]
    assert agent.status()["agent"]["config_error"].startswith(rejected["reason"])
    assert listening(lab, 9000)
    assert agent.wait_state("web01", "connected")["pid"] == pid
    agent.configure(TWO)
    until("9001 listens", lambda: listening(lab, 9001))
    assert agent.status()["agent"]["config_error"] is None


def test_reconnect_under_a_pause_of_everything_tells_what_came_of_it(lab: Lab, agent: Agent) -> None:
    """`reconnect` connects the given host although everything is paused, and prints the command that ends the pause."""
    pid = connected(lab, agent)
    agent.cli("pause")
    done = agent.cli("reconnect", "web01")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("; still paused. To end the pause: trayagent resume\n")
    assert agent.status()["hosts"][0]["pid"] not in {pid, None}
    agent.wait_forwards("web01", {"local": "open"})
    assert agent.status()["agent"]["paused"]


def test_a_host_that_is_added_is_connected(lab: Lab, agent: Agent) -> None:
    """A new table in the configuration brings the host up. Removing the table does not end the master."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.start("")
    assert agent.host("web01") is None
    agent.configure("[hosts.web01]\n")
    pid = agent.wait_state("web01", "connected")["pid"]
    agent.configure("")
    until("unlisted", lambda: not (agent.host("web01") or {"listed": True})["listed"])
    assert (agent.host("web01") or {})["pid"] == pid


def test_folders_that_are_removed_and_made_again_are_watched_again(lab: Lab, agent: Agent) -> None:
    """The agent still watches the folders of its configuration and of ssh after they were removed and recreated."""
    lab.join("home")
    lab.sshd()
    lab.ssh_config({"web01": SERVER})
    agent.config = agent.config.parent / "config" / "config.toml"
    agent.env["TRAYAGENT_CONFIG"] = str(agent.config)
    agent.config.parent.mkdir(0o700)
    agent.start("")
    for count in range(2):
        shutil.rmtree(agent.config.parent)
        if count:  # the second time, let the agent notice that the folder is missing
            time.sleep(0.3)
        agent.config.parent.mkdir(0o700)
        agent.configure("[hosts.web01]\n")
        agent.wait_state("web01", "connected")
        agent.configure("")
        until("unlisted", lambda: not (agent.host("web01") or {"listed": False})["listed"])
    agent.configure("[hosts.web01]\n[hosts.web02]\n")
    kept = agent.config.parent.parent / "ssh kept"
    shutil.copytree(lab.files.ssh, kept, ignore=shutil.ignore_patterns("cm-*"))
    shutil.rmtree(lab.files.ssh)
    time.sleep(0.3)
    shutil.copytree(kept, lab.files.ssh)
    lab.ssh_config({"web01": SERVER, "web02": {**SERVER, "ControlPath": "~/.ssh/other-%C"}})
    agent.wait_state("web02", "connected")


def test_a_hook_runs_with_the_event_in_its_environment(lab: Lab, agent: Agent) -> None:
    """`[hooks] connected` runs the program when a host is up, with TRAYAGENT_HOST set and without a shell."""
    out = agent.state_dir / "hook-out"
    hook = agent.state_dir / "hook"
    hook.write_text(
        f'#!/bin/sh\necho "$TRAYAGENT_EVENT $TRAYAGENT_HOST $1" > {out}.new && mv {out}.new {out}\n'
    )
    hook.chmod(0o700)
    connected(lab, agent, ONE + f'[hooks]\nconnected = ["{hook}", "a; b $(c)"]\n')
    until("the hook has run", out.exists)
    assert out.read_text() == "connected web01 a; b $(c)\n"


BAD: Mapping[str, tuple[str, ...]] = {
    "[hosts.web01]\nconect = 'always'\n": ("hosts.web01.conect", "connect"),
    "[hosts.web01]\nconnect = 'sometimes'\n": ("hosts.web01.connect", "always", "on-use", "never"),
    "[hosts.web01]\nlocal = ['80:x']\n": ("hosts.web01.local",),
    "[hosts.-oProxyCommand]\n": ("-oProxyCommand",),
    "[hosts.web01]\nvpn = 'corp'\n": ("hosts.web01.vpn", "corp"),
    "[agent]\nkeep_while_offline = 'soon'\n": ("agent.keep_while_offline", "10m"),
}


def test_a_bad_configuration_at_start_is_status_2_and_says_where(agent: Agent) -> None:
    """The exit status is 2, and the message names the file, the key and the valid choices."""
    for text, said in BAD.items():
        agent.configure(text)
        done = agent.cli("run", "--no-tray")
        assert done.returncode == 2, text
        for word in (str(agent.config), *said):
            assert word in done.stderr, done.stderr


def test_a_host_that_looks_like_an_option_is_refused_everywhere(agent: Agent) -> None:
    """Neither the command line nor the socket accepts a name that ssh would read as an option."""
    marker = Path(agent.state_dir) / "marker"
    agent.start("")
    done = agent.cli("reconnect", "--", f"-oProxyCommand=touch {marker}")
    assert done.returncode == 1
    assert not marker.exists()


def test_a_host_that_moved_to_another_machine_is_connected_there(lab: Lab, agent: Agent) -> None:
    """If HostName is edited while the host is connected, the agent connects to the new machine at the next move.

    An agent that was restarted after the edit knows from its records where the old connection leads.
    """
    pid = connected(lab, agent)
    lab.sshd(OTHER)
    lab.ssh_config({"web01": {**SERVER, "HostName": OTHER}})
    agent.stop()
    agent.start()
    assert agent.wait_state("web01", "connected")["pid"] == pid
    events = agent.events()
    lab.switch("home", "cafe")
    assert events.wait("connected", "web01")["pid"] != pid
    assert agent.wait_state("web01", "connected")["peer"].startswith(f"{OTHER}:")
    assert "ssh_config has a new address" in agent.cli("why", "web01").stdout
    assert lab.laptop.run(["ssh", "web01", "echo hi"]).stdout == "hi\n"
