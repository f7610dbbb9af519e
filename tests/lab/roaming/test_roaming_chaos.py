"""Random moves, outages, suspends and kills with random traffic: every byte comes back once, and no session ends.

With a direct port, its connections are also reset, and strangers send forged frames there.

`TRAYAGENT_ROAM_CHAOS=100` runs a hundred steps. `TRAYAGENT_ROAM_SEED` selects other random steps.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from random import Random

import pytest

from tests.lab.agent.test_chaos_kills import ssh_pids
from tests.lab.matrix import alive, listener, until
from tests.lab.roaming.test_roaming_losses import HOST, relays, roaming, roams
from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.network_map import SERVER

STEPS = int(os.environ.get("TRAYAGENT_ROAM_CHAOS", "4"))
SEED = int(os.environ.get("TRAYAGENT_ROAM_SEED", "1"))
NETWORKS = ("home", "cafe", "office")
LONG_S = 120.0
PORT = 60001

# Opens connections to a port, and sends a frame of each type with the right ID, but without the key of the tags. Some
# connections stay open.
STRANGER = """
import os, socket, struct, sys
held = []
for kind in (1, 2, 3, 4, 5, 6) * 3:
    try:
        sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
        hello = b"roam" + bytes((1, 1, 0, 0)) + struct.pack("!Q", 1 << 40) + sys.argv[3].encode() + b"0" * 32
        payload = hello if kind == 1 else os.urandom(100)
        sock.sendall(struct.pack("!IBBHQ", len(payload), kind, 128, 0, 0) + os.urandom(16) + payload)
        held.append(sock)
    except OSError:
        pass
"""

# Sends everything from stdin through a connection to a port of this machine, and prints the answer.
PIPE = """
import os, socket, sys, threading
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
sock.settimeout(None)
def back():
    while data := sock.recv(65536):
        while data:
            data = data[os.write(1, data):]
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    sock.sendall(data)
os.close(0)
threading.Event().wait()
"""


class Traffic:
    """Random data that a command on the laptop must return unchanged."""

    def __init__(self, lab: Lab, words: list[str], seed: int) -> None:
        self.words = words
        self.child = lab.laptop.popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.sent = self.returned = 0
        self.error = ""
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(Random(seed),), daemon=True),  # noqa: S311
            threading.Thread(target=self._read, args=(Random(seed),), daemon=True),  # noqa: S311
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, random: Random) -> None:
        assert self.child.stdin is not None
        fd = self.child.stdin.fileno()
        pause = Random(0)  # noqa: S311
        while not self._stop.is_set():
            data = random.randbytes(random.choice((1, 30, 1000, 30_000)))
            while data:
                size = os.write(fd, data)
                data = data[size:]
                self.sent += size
            self._stop.wait(pause.uniform(0.01, 0.3))

    def _read(self, random: Random) -> None:
        assert self.child.stdout is not None
        fd, wanted = self.child.stdout.fileno(), b""
        while data := os.read(fd, 65536):
            while len(wanted) < len(data):
                wanted += random.randbytes(random.choice((1, 30, 1000, 30_000)))
            if wanted[: len(data)] != data:
                self.error = f"other bytes after {self.returned}"
                return
            wanted = wanted[len(data) :]
            self.returned += len(data)

    def end(self) -> None:
        """Stop sending. Fail unless every byte came back exactly once."""
        self._stop.set()
        self._threads[0].join(LONG_S)
        until("all came back", lambda: self.error or self.returned == self.sent, LONG_S)
        assert (self.error, self.child.poll()) == ("", None), self.words
        self.child.kill()
        self.child.wait()


class Chaos:
    """The random steps: what may happen to a laptop."""

    def __init__(self, lab: Lab, agent: Agent, random: Random, *, by_port: bool) -> None:
        self.lab, self.agent, self.random, self.by_port = lab, agent, random, by_port
        self.network = "home"

    def step(self) -> str:
        """Run one random step, and return its name."""
        steps: tuple[Callable[[], None], ...] = (
            self.move, self.move, self.move, self.outage, self.sleep_and_wake_elsewhere,
            self.kill_the_agent, self.kill_the_outer_master, self.flap,
        )  # fmt: skip
        if self.by_port:
            steps += (self.reset_the_port, self.attack_the_port)
        chosen = self.random.choice(steps)
        chosen()
        time.sleep(self.random.uniform(0.0, 3.0))
        return chosen.__name__

    def move(self) -> None:
        """Go to another network, immediately or after a gap."""
        left, self.network = self.network, self.random.choice([n for n in NETWORKS if n != self.network])
        self.lab.switch(left, self.network, gap_s=self.random.choice((0.0, 0.0, 1.0, 3.0)))

    def outage(self) -> None:
        """Lose every packet for a while."""
        self.lab.blackhole(True)
        time.sleep(self.random.uniform(0.5, 6.0))
        self.lab.blackhole(False)

    def flap(self) -> None:
        """Lose the carrier a few times."""
        self.lab.flap(self.random.randint(1, 4))

    def sleep_and_wake_elsewhere(self) -> None:
        """Suspend every process, and continue in another network."""
        pids = [pid for pid in self.lab.laptop.pids() if alive(pid)]
        self.lab.suspend(pids)
        time.sleep(self.random.uniform(0.5, 3.0))
        self.move()
        self.lab.resume(pids)

    def kill_the_agent(self) -> None:
        """Kill the agent, perhaps move, and start the next one."""
        self.agent.kill9()
        if self.random.random() < 0.5:
            self.move()
        self.agent.start()

    def kill_the_outer_master(self) -> None:
        """Kill the master that carries the link."""
        pid = (self.agent.host(HOST) or {}).get("pid")
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def reset_the_port(self) -> None:
        """Reset the connections to the port of the far relay."""
        self.lab.server.check(["ss", "-K", "sport", "=", f":{PORT}"], admin=True)

    def attack_the_port(self) -> None:
        """Send forged frames to the port, as someone can who read the ID of the token on the route."""
        (token_id,) = self.agent.records()["roaming"]
        self.lab.laptop.run([sys.executable, "-I", "-c", STRANGER, SERVER, str(PORT), token_id])


@pytest.mark.timeout(60 + 60 * STEPS)
@pytest.mark.parametrize("by_port", [False, True], ids=["by channel", "by port"])
def test_random_steps_lose_nothing(lab: Lab, agent: Agent, by_port: bool) -> None:
    """A session and a connection through -L carry random traffic. Both survive, and no other process is left over."""
    lab.echo(8000)
    table = f'roam_port = "{PORT}-{PORT + 2}"\n' if by_port else ""
    before = roaming(lab, agent, table + 'local = ["9000:127.0.0.1:8000"]\n')
    agent.wait_forwards(HOST, {"local": "open"}, LONG_S)
    traffic = [
        Traffic(lab, ["ssh", HOST, "exec cat"], SEED),
        Traffic(lab, [sys.executable, "-I", "-c", PIPE, "9000"], SEED + 1),
    ]
    chaos = Chaos(lab, agent, Random(SEED), by_port=by_port)  # noqa: S311  # the same steps in each run
    done = []
    if by_port:
        chaos.attack_the_port()
    for _ in range(STEPS // 2):
        done.append(chaos.step())
        for one in traffic:
            assert (one.error, one.child.poll()) == ("", None), done
    now = roams(agent)
    for one in traffic:
        one.end()
    assert now["roaming"]["pid"] == before["roaming"]["pid"] == listener(lab, HOST), done
    until("one far relay is left", lambda: len(relays(lab)) == 1, LONG_S)
    assert [one["sent"] > 0 for one in relays(lab)] == [True]
    until("both masters are left", lambda: len(ssh_pids(lab)) == 2, LONG_S)
    assert set(ssh_pids(lab)) == {(agent.host(HOST) or {})["pid"], before["roaming"]["pid"]}
