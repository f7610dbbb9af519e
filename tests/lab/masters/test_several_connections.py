"""A ProxyCommand with two connections, like those of cloud providers: one for the API, one for the tunnel."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

import pytest

from tests.lab.matrix import HARM, HOST, OPTIONS, alive, until
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import SERVER

CONFIG = f"[hosts.{HOST}]\n"
API = 8000
OTHER = "203.0.113.12"
STAYS_S = 3.0
# Then this user cannot read its descriptors, as those of a program with file capabilities (prctl(2)).
NOT_DUMPABLE = "import ctypes\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"
# Binds each connection to an interface, if the server is reachable there. The API's descriptor is the lower one.
COMMAND = f"""
import os, socket, sys, threading
def connect(port, interface):
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.settimeout(0.5)
        sock.connect(("{SERVER}", port))
        sock.settimeout(None)
    except OSError:
        sock = socket.create_connection(("{SERVER}", port))
    return sock
api, tunnel = connect({API}, sys.argv[1]), connect(22, sys.argv[2])
def upload():
    while data := os.read(0, 65536):
        tunnel.sendall(data)
    os._exit(0)
threading.Thread(target=upload, daemon=True).start()
while data := tunnel.recv(65536):
    os.write(1, data)
"""


@pytest.fixture
def two_networks(lab: Lab) -> Lab:
    """Connect the laptop to two networks. The default route leads through eth0."""
    lab.join("home")
    lab.join("cafe", interface="eth0")
    lab.sshd()
    lab.echo(API, "0.0.0.0")  # noqa: S104  # only within the sandbox
    (lab.files.home / "tunnel.py").write_text(COMMAND)
    return lab


def through(lab: Lab, api: str, tunnel: str) -> None:
    """Write an ssh_config whose ProxyCommand uses these interfaces for its API and its tunnel."""
    command = f"{sys.executable} -S -E {lab.files.home / 'tunnel.py'} {api} {tunnel}"
    lab.ssh_config({HOST: {**OPTIONS, "ProxyCommand": command}})


def test_the_loss_of_one_address_ends_no_connection_over_the_other(two_networks: Lab, agent: Agent) -> None:
    """If only the API's address is gone, the agent probes the tunnel and keeps the master."""
    through(two_networks, api="wlan0", tunnel="eth0")
    agent.start(CONFIG)
    pid = agent.wait_state(HOST, "connected")["pid"]
    events = agent.events()
    two_networks.leave("home")
    assert events.wait("master-kept", HOST)["pid"] == pid
    assert not HARM & {event["event"] for event in events.drain()}
    assert alive(pid)


def test_the_loss_of_the_tunnels_address_is_noticed_at_once(two_networks: Lab, agent: Agent) -> None:
    """If only the tunnel's address is gone, the agent replaces the master, although the API's connection lives."""
    through(two_networks, api="eth0", tunnel="wlan0")
    agent.start(CONFIG)
    pid = agent.wait_state(HOST, "connected")["pid"]
    events = agent.events()
    two_networks.leave("home")
    assert events.wait("connected", HOST)["pid"] != pid


def test_a_carrier_that_a_script_left_behind_keeps_the_master(two_networks: Lab, agent: Agent) -> None:
    """A script leaves the work to a socat in the background and becomes one itself, whose address is gone later."""
    lab = two_networks
    carrier = f"socat 'FD:5!!FD:6' TCP:{SERVER}:22,so-bindtodevice=eth0"
    script = lab.files.home / "way"
    script.write_text(
        f"#!/bin/sh\nexec 5<&0 6>&1\n(exec {carrier} &)\n"
        f"exec socat -u TCP:{SERVER}:{API},so-bindtodevice=wlan0 OPEN:/dev/null\n"
    )
    script.chmod(0o755)
    lab.ssh_config({HOST: {**OPTIONS, "ProxyCommand": str(script)}})
    agent.start(CONFIG)
    pid = agent.wait_state(HOST, "connected")["pid"]
    events = agent.events()
    lab.leave("home")
    assert events.wait("master-kept", HOST)["pid"] == pid
    assert not HARM & {event["event"] for event in events.drain()}


def test_the_target_of_a_remote_forward_carries_nothing(two_networks: Lab) -> None:
    """The address of a forwarded connection is gone. The ProxyCommand cannot be read, so the master is kept."""
    lab = two_networks
    (lab.files.home / "tunnel.py").write_text(NOT_DUMPABLE + COMMAND)
    through(lab, api="eth0", tunnel="eth0")
    lab.sshd(OTHER)
    lab.laptop.ip(f"route add {OTHER} via 192.168.10.1 dev wlan0")
    user = lab.laptop
    if os.geteuid() == 0:  # root could read it
        user = replace(user, through=("setpriv", "--bounding-set=-sys_ptrace"))
    master = user.popen(["ssh", "-NM", "-R", f"2222:{OTHER}:22", HOST])
    connect = "until exec 3<>/dev/tcp/127.0.0.1/2222; do sleep 0.1; done 2>/dev/null; exec sleep 60"
    client = lab.server.popen(["bash", "-c", connect])
    try:
        until("it is forwarded", lambda: f"{OTHER}:22" in user.check(["ss", "-Htn"]))
        with Agent(lab, node=user) as agent:
            agent.start(CONFIG)
            pid = agent.wait_state(HOST, "connected")["pid"]
            events = agent.events()
            lab.leave("home")
            time.sleep(STAYS_S)
            assert not HARM & {event["event"] for event in events.drain()}
            assert alive(pid)
    finally:
        for one in (client, master):
            one.kill()
            one.wait()
