"""A ProxyCommand whose tunnel is UDP, as QUIC is, and that also holds a TCP connection to an API."""

from __future__ import annotations

import sys

from tests.lab.matrix import HARM, HOST, OPTIONS, alive
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import SERVER

API, TUNNEL = 8000, 7000
# Each datagram has a name of 8 bytes, which identifies the tunnel, and data. It may come from any address.
FAR = f"""
import socket, threading
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("{SERVER}", {TUNNEL}))
peers, tunnels = {{}}, {{}}
def down(name, tcp):
    while data := tcp.recv(1000):
        udp.sendto(data, peers[name])
while True:
    data, peer = udp.recvfrom(2000)
    name = data[:8]
    peers[name] = peer
    if name not in tunnels:
        tunnels[name] = socket.create_connection(("{SERVER}", 22))
        threading.Thread(target=down, args=(name, tunnels[name]), daemon=True).start()
    tunnels[name].sendall(data[8:])
"""
NEAR = f"""
import os, socket, threading
api = socket.create_connection(("{SERVER}", {API}))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 0))
name = os.urandom(8)
def down():
    while True:
        os.write(1, udp.recv(2000))
threading.Thread(target=down, daemon=True).start()
while data := os.read(0, 1000):
    try:
        udp.sendto(name + data, ("{SERVER}", {TUNNEL}))
    except OSError:
        pass
os._exit(0)
"""


def test_a_tunnel_of_datagrams_outlives_the_address_of_its_tcp_connection(lab: Lab, agent: Agent) -> None:
    """After a move the probe goes through the tunnel, its answer arrives, and the master is kept."""
    lab.join("home")
    lab.sshd()
    lab.echo(API, "0.0.0.0")  # noqa: S104  # only within the sandbox
    far = lab.server.popen([sys.executable, "-S", "-E", "-c", FAR])
    near = lab.files.home / "near.py"
    near.write_text(NEAR)
    lab.ssh_config({HOST: {**OPTIONS, "ProxyCommand": f"{sys.executable} -S -E {near}"}})
    try:
        agent.start(f"[hosts.{HOST}]\n")
        pid = agent.wait_state(HOST, "connected")["pid"]
        events = agent.events()
        lab.switch("home", "cafe")
        assert events.wait("master-kept", HOST)["pid"] == pid
        assert not HARM & {event["event"] for event in events.drain()}
        assert alive(pid)
    finally:
        far.kill()
        far.wait()
