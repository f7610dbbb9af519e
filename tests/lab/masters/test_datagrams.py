"""A ProxyCommand whose tunnel is UDP, as QUIC is, and that also holds a TCP connection to an API."""

from __future__ import annotations

import sys

from tests.lab.matrix import HARM, HOST, OPTIONS, alive
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import SERVER

API, TUNNEL = 8000, 7000
# A datagram has a name of 8 bytes, which identifies the tunnel, two offsets and data. It may come from any address.
LINK = """
import os, socket, struct, threading, time
class Link:
    # One end. It sends again what was not acknowledged, because datagrams are lost while the network changes.
    def __init__(self, send):
        self.send, self.out, self.base, self.got, self.lock = send, b"", 0, 0, threading.Lock()
        threading.Thread(target=self.repeat, daemon=True).start()
    def repeat(self):
        while True:
            time.sleep(0.05)
            with self.lock:
                if self.out:
                    self.flush()
    def flush(self):
        for at in range(0, len(self.out) or 1, 1000):
            try:
                self.send(struct.pack("!II", self.base + at, self.got) + self.out[at:at + 1000])
            except OSError:
                pass
    def write(self, data):
        with self.lock:
            self.out += data
            self.flush()
    def take(self, datagram):
        offset, acknowledged = struct.unpack("!II", datagram[:8])
        data = datagram[8:]
        with self.lock:
            if acknowledged > self.base:
                self.out, self.base = self.out[acknowledged - self.base:], acknowledged
            fresh = data[self.got - offset:] if offset <= self.got else b""
            self.got += len(fresh)
            if data:
                self.flush()
        return fresh
"""
FAR = f"""{LINK}
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("{SERVER}", {TUNNEL}))
peers, tunnels = {{}}, {{}}
def down(link, tcp):
    while data := tcp.recv(1000):
        link.write(data)
while True:
    data, peer = udp.recvfrom(2000)
    name = data[:8]
    peers[name] = peer
    if name not in tunnels:
        link = Link(lambda text, name=name: udp.sendto(text, peers[name]))
        tunnels[name] = link, socket.create_connection(("{SERVER}", 22))
        threading.Thread(target=down, args=tunnels[name], daemon=True).start()
    link, tcp = tunnels[name]
    tcp.sendall(link.take(data[8:]))
"""
NEAR = f"""{LINK}
api = socket.create_connection(("{SERVER}", {API}))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 0))
name = os.urandom(8)
link = Link(lambda text: udp.sendto(name + text, ("{SERVER}", {TUNNEL})))
def down():
    while True:
        os.write(1, link.take(udp.recv(2000)))
threading.Thread(target=down, daemon=True).start()
while data := os.read(0, 1000):
    link.write(data)
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
