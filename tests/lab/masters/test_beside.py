"""ssh sessions beside a master: the agent shows them, and with `beside = "end"` it ends those that are proven dead."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.matrix import until
from trayagent.errors import TrayagentError
from trayagent.sandbox import Agent, Lab, Sshd

HOST = "web01"
SERVER = {"HostName": "203.0.113.10", "ControlPath": "~/.ssh/cm-%C"}
SHOW = f"[hosts.{HOST}]\n"
END = f'[agent]\nbeside = "end"\n[hosts.{HOST}]\n'
STAYS_S = 3.0
STARTS_S = 0.1
ENDS_S = 10.0
JUMP = "203.0.113.11"
LIMITED = "203.0.113.12"


def up(lab: Lab, agent: Agent, config: str) -> Sshd:
    """Connect the host at home."""
    lab.join("home")
    server = lab.sshd()
    lab.ssh_config({HOST: SERVER})
    agent.start(config)
    agent.wait_state(HOST, "connected")
    return server


def bypass(lab: Lab, *options: str, name: str = HOST, words: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Open a session that bypasses the master."""
    # A script that runs the tests may ignore these signals.
    plain = ["env", "--default-signal=HUP,QUIT"]
    call = [*plain, "ssh", "-o", "ControlPath=none", *options, name, "echo there; exec cat", *words]
    child = lab.laptop.popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == "there\n"
    return child


def beside(agent: Agent) -> list[dict[str, Any]]:
    """Return the sessions beside the host's master."""
    found: list[dict[str, Any]] = agent.listed_host(HOST)["beside"]
    return found


def answers(child: subprocess.Popen[str]) -> bool:
    """Report whether a session still echoes."""
    assert child.stdin
    assert child.stdout
    child.stdin.write("again\n")
    child.stdin.flush()
    return child.stdout.readline() == "again\n"


def test_a_session_beside_the_master_is_shown_and_kept(lab: Lab, agent: Agent) -> None:
    """`status` shows a session beside the master before and after a move, and how to end it, until it has ended.

    An ssh of a host that the agent does not know is counted while it runs.
    """
    up(lab, agent, SHOW)
    lab.sshd(LIMITED)
    with bypass(lab, "-o", f"HostName={LIMITED}", name="db") as other:
        until("it is counted", lambda: agent.status()["agent"]["unlisted_ssh"] == 1)
        other.kill()
    until("it is forgotten", lambda: agent.status()["agent"]["unlisted_ssh"] == 0)
    with bypass(lab) as child:
        try:
            assert [(one["pid"], one["stale"]) for one in beside(agent)] == [(child.pid, False)]
            assert "1 ssh session beside the master" in agent.cli("status").stdout
            assert "1 ssh session beside the master" in agent.cli("why", HOST).stdout
            events = agent.events()
            lab.switch("home", "cafe")
            events.wait("connected", HOST)
            until("its address is gone", lambda: [one["stale"] for one in beside(agent)] == [True])
            time.sleep(STAYS_S)
            assert child.poll() is None
            assert 'beside = "end"' in agent.cli("doctor").stdout
            command = f"kill -HUP {child.pid}"
            assert f"To end it: {command}." in agent.cli("status").stdout
            lab.laptop.check(command.split())
            assert child.wait(ENDS_S) == 255
        finally:
            child.kill()
    until("it is forgotten", lambda: beside(agent) == [])


def test_a_dead_session_is_ended_and_a_living_one_is_not(lab: Lab, agent: Agent) -> None:
    """The agent ends a dead session soon after the move, and not a living one through another interface.

    A dead session to a host that may not be contacted here stays, even if its remote command names another host. One
    that is suspended stays, too.
    """
    lab.join("home", interface="eth0", metric=900)
    lab.sshd()
    limited = lab.sshd(LIMITED)
    lab.ssh_config({HOST: SERVER, "db": {"HostName": LIMITED}})
    with bypass(lab) as living:
        lab.join("cafe", interface="wlan0", metric=100)
        dead = bypass(lab)
        nested = bypass(lab, name="db", words=("#", HOST))
        suspended = bypass(lab)
        try:
            suspended.send_signal(signal.SIGSTOP)
            agent.start(f'{END}[hosts.db]\nnetworks = ["Home"]\n')
            agent.wait_state(HOST, "connected")
            events = agent.events()
            lab.leave("cafe")
            events.wait("connected", HOST)
            until("it is ended", lambda: dead.poll() is not None)
            assert dead.returncode == 255
            assert "the agent ended a dead ssh beside the master" in agent.cli("why", HOST).stdout
            time.sleep(STAYS_S)
            assert living.poll() is None
            assert answers(living)
            assert nested.poll() is None
            assert suspended.poll() is None
            assert "It is suspended." in agent.cli("status").stdout
            assert limited.logins() == 1
            assert "Connection closed by" not in limited.said()
        finally:
            dead.kill()
            living.kill()
            for child in (nested, suspended):
                child.kill()
                child.communicate()


def test_an_ssh_that_waited_for_a_stale_master_is_ended_at_the_next_move(lab: Lab, agent: Agent) -> None:
    """An ssh that is typed before the new master is ready ends up beside it. The agent ends it at the next move."""
    up(lab, agent, END)
    events = agent.events()
    lab.leave("home")
    clients = established(lab)
    child = lab.laptop.popen(
        ["ssh", HOST, "echo there; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        until("it waits for the stale master", lambda: established(lab) > clients)
        lab.join("cafe")
        events.wait("connected", HOST)
        assert child.stdout
        assert child.stdout.readline() == "there\n"
        assert [(one["pid"], one["stale"]) for one in beside(agent)] == [(child.pid, False)]
        lab.switch("cafe", "home")
        until("it is ended", lambda: child.poll() is not None)
        assert child.returncode == 255
    finally:
        child.kill()
        child.wait()


def established(lab: Lab) -> int:
    """Return how many clients are connected to the host's master."""
    lines = lab.laptop.check(["ss", "-Hx", "state", "established"]).splitlines()
    return sum("/.ssh/cm-" in line for line in lines)


SERVERS = {"move": SERVER["HostName"], "vpn": "10.99.0.10"}
TUNNEL = "-N -o ControlPath=none -o ExitOnForwardFailure=yes -L 8080:127.0.0.1:8000"


@pytest.mark.parametrize(
    ("supervisor", "listed", "change", "target"),
    [
        ("nohup on-failure", True, "move", HOST),
        ("nohup on-failure", True, "move", f"-J jump {HOST}"),
        ("on-failure", False, "move", "socat"),
        ("autossh", False, "vpn", HOST),
    ],
)
def test_a_supervised_tunnel_is_back_without_migrating(
    lab: Lab, agent: Agent, supervisor: str, listed: bool, change: str, target: str
) -> None:
    """The agent ends the dead ssh soon, so that autossh or a unit with Restart=on-failure starts the next one.

    The server behind the VPN has a private address, and the VPN returns with another one for the laptop. An ssh under
    nohup that a script started with `&` ignores SIGHUP and SIGQUIT. Behind a jump host or a ProxyCommand, the
    transport has the TCP connection. autossh gives up if its first ssh exits with a status in the first 30 s.
    """
    if supervisor == "autossh" and shutil.which("autossh") is None:
        pytest.skip("autossh is not installed")
    lab.join("home")
    if change == "vpn":
        lab.vpn_up()
    server = lab.sshd(SERVERS[change])
    lab.echo(8000)
    host = {**SERVER, "HostName": SERVERS[change]}
    if "-J" in target:
        lab.sshd(JUMP)
    # A program is known by its file, whatever the link to it is called, as nc.openbsd is on Debian.
    link, socat = lab.files.home / "tunnel", shutil.which("socat")
    assert socat is not None
    link.symlink_to(socat)
    proxy = f"{link} - TCP:%h:%p"
    lab.ssh_config({HOST: host, "jump": {"HostName": JUMP}, "socat": {**host, "ProxyCommand": proxy}})
    agent.start(END if listed else '[agent]\nbeside = "end"\n')
    words = f"exec autossh -M 0 {TUNNEL} {target}"
    if supervisor != "autossh":
        words = f"until ssh {TUNNEL} {target}; do sleep {STARTS_S}; done"
    ignored = "trap '' HUP QUIT; " if "nohup" in supervisor else ""
    child = lab.laptop.popen(["sh", "-c", ignored + words])
    try:
        until("the tunnel is up", lambda: reached(lab))
        logins = server.logins()
        if change == "vpn":
            lab.vpn_down()
            lab.vpn_up()
        else:
            lab.switch("home", "cafe")
        until("the tunnel is back", lambda: reached(lab))
        assert server.logins() > logins
    finally:
        child.kill()
        child.wait()


def reached(lab: Lab, port: int = 8080) -> bool:
    """Report whether the tunnel carries data."""
    with lab.probe(port) as probe:
        probe.release()
        try:
            return probe.result(3.0) > 0
        except TrayagentError:
            return False


def test_an_ssh_behind_a_script_is_left_alone_with_its_programs(
    lab: Lab, agent: Agent, tmp_path: Path
) -> None:
    """A script may pass the data to a daemon, and may have started a program that others use.

    The second script has the name of a known program, and ends as socat. Its TCP connection is for something else.
    """
    up(lab, agent, END)
    started, script, named = tmp_path / "started", tmp_path / "way", tmp_path / "nc"
    for name in ("up", "down"):
        os.mkfifo(tmp_path / name)
    named.write_text(
        f"#!/bin/bash\nexec 6<&0 7>{tmp_path}/up 8<{tmp_path}/down 9<>/dev/tcp/$1/$2\n"
        "socat -u STDIN FD:7 <&6 & exec socat -u FD:8 STDOUT\n"
    )
    named.chmod(0o755)
    daemon = f"exec socat TCP:{SERVER['HostName']}:22 STDIO <{tmp_path}/up >{tmp_path}/down"
    passing = lab.laptop.popen(["sh", "-c", daemon])
    script.write_text(
        f"#!/bin/sh\nsetsid sleep 60 </dev/null >/dev/null 2>&1 & echo $! >{started}\nexec socat - TCP:$1:$2\n"
    )
    script.chmod(0o755)
    child = bypass(lab, "-o", f"ProxyCommand={script} %h %p")
    passed_on = bypass(lab, "-o", f"ProxyCommand={named} %h %p")
    other = int(started.read_text())
    try:
        lab.switch("home", "cafe")
        agent.wait_state(HOST, "connected")
        time.sleep(STAYS_S)
        assert child.poll() is passed_on.poll() is None
        unproven = {one["pid"] for one in beside(agent) if one["unproven"]}
        assert unproven == {child.pid, passed_on.pid}
        assert f"If they hang, end them: kill -HUP {child.pid} {passed_on.pid}" in agent.cli("status").stdout
        assert Path(f"/proc/{other}/comm").read_text() == "sleep\n"
    finally:
        for one in (child, passed_on, passing):
            one.kill()
            one.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(other, signal.SIGKILL)
