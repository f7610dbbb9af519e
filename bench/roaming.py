"""Measures the cost of the two relays: throughput and key echo compared with plain ssh, and an idle near relay."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.resting import own_switches, rss_mb
from trayagent.sandbox import Lab
from trayagent.sandbox.network_map import SERVER
from trayagent.sandbox.roaming_relays import NearRelay, RoamingHost, wait_for

HOST = "loop"
ADDRESS, PORT = "127.0.0.1", 2222
BYTES = 1_000_000_000  # at least 2 s, so that short disturbances do not decide a run
LINE_RTT_MS = 50
LINE_BYTES = 200_000_000  # plain ssh needs 6 s, because its window is 2 MiB
KEYS = 300
OUTER = ("-o", "Ciphers=^aes128-gcm@openssh.com", "-o", "Compression=no")
INNER = ("-o", "Ciphers=^aes128-gcm@openssh.com")
"""The ciphers that the agent requests on a processor with AES. The plain ssh uses its default."""
THROUGHPUT_GOAL = 0.75
PORT_GOAL = 0.90
LINK_PORT = 60001
KEY_GOAL_MS = 0.5
STRANGERS_GOAL_MS = 0.3  # more than chance on a quiet machine
HOSTS = 10
DRAIN_S = 10.0
RSS_GOAL_MB = 12.0
# Opens 200 connections to a port and sends nothing, then opens one more every 20 ms.
STRANGERS = """
import socket, sys, time
held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(200)]
print("there", flush=True)
while True:
    time.sleep(0.02)
    held = [*held[1:], socket.create_connection((sys.argv[1], int(sys.argv[2])))]
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same quantity, measured alternately through both relays and through a plain master."""

    roaming: list[float]
    plain: list[float]

    @property
    def ratios(self) -> list[float]:
        """For each run, roaming relative to plain."""
        return [ours / theirs for ours, theirs in zip(self.roaming, self.plain, strict=True)]


@contextlib.contextmanager
def rig(
    outer: tuple[str, ...] = OUTER, *, by_port: bool = False, rtt_ms: float = 0.0
) -> Iterator[tuple[Lab, RoamingHost, list[str]]]:
    """Yield a laboratory, a host that roams, and the command line of an ssh through a plain master.

    `by_port`: its link is on a TCP port of the far relay. `rtt_ms`: the server is on another machine, at the end of a
    line with this round trip. Without it, everything goes over loopback.
    """
    with Lab(rtt_ms=rtt_ms) as lab:
        lab.join("home")
        address, port = (SERVER, 22) if rtt_ms else (ADDRESS, PORT)
        lab.sshd(address, port, node=None if rtt_ms else lab.laptop)
        lab.ssh_config({HOST: {"HostName": address, "Port": port}})
        control = str(lab.files.runtime / "plain")
        plain = lab.laptop.popen(["ssh", "-M", "-N", "-S", control, HOST])
        wait_for(lambda: Path(control).exists(), "the plain master listens")
        near = NearRelay(lab)
        with RoamingHost(lab, near, HOST, inner=INNER, outer=outer) as host:
            host.ports = str(LINK_PORT) if by_port else ""
            host.connect(direct=True)
            if by_port:
                host.attach_port(address, LINK_PORT)
            yield lab, host, ["ssh", "-S", control, "-o", "ControlMaster=no", HOST]
        near.close()
        plain.kill()


@dataclass(frozen=True, slots=True)
class Throughput:
    """The rate in MB/s, and for each run the CPU seconds of all processes and of the busiest one."""

    rate: Pair
    cpu_s: Pair
    busiest_s: Pair


def throughput(
    runs: int,
    direction: str,
    outer: tuple[str, ...] = OUTER,
    *,
    by_port: bool = False,
    line: bool = False,
) -> Throughput:
    """Measure "up" or "down", with the link on a channel or a TCP port, over loopback or a line."""
    pairs = [Pair([], []) for _ in range(3)]
    size = LINE_BYTES if line else BYTES
    with rig(outer, by_port=by_port, rtt_ms=LINE_RTT_MS if line else 0) as (lab, host, plain):
        for number in range(runs + 1):
            for words, ours in ((host.through(HOST), True), (plain, False)):
                before = _cpu_s(lab)
                rate = _megabytes_s(lab, words, direction, size)
                used = [seconds - before.get(pid, 0.0) for pid, seconds in _cpu_s(lab).items()]
                for pair, value in zip(pairs, (rate, sum(used), max(used)), strict=True):
                    if number:  # not counted, because the first run warms up
                        (pair.roaming if ours else pair.plain).append(value)
    return Throughput(*pairs)


def _cpu_s(lab: Lab) -> dict[int, float]:
    """Return the CPU seconds so far of each process on the laptop, which includes the server."""
    found = {}
    for pid in lab.laptop.pids():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def _megabytes_s(lab: Lab, words: list[str], direction: str, size: int) -> float:
    far = f"head -c {size} /dev/zero" if direction == "down" else "cat >/dev/null"
    near = f"{' '.join(words)} '{far}'"
    line = f"{near} >/dev/null" if direction == "down" else f"head -c {size} /dev/zero | {near}"
    begin = time.monotonic()
    done = lab.laptop.run(["sh", "-c", line], deadline_s=300)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return size / 1e6 / (time.monotonic() - begin)


def keystrokes(runs: int) -> Pair:
    """Return the ms from a key to its echo on an idle line, of the fastest tenth of each run.

    On a busy machine the other keys also wait for a processor, and longer if they pass through more
    processes.
    """
    with rig() as (lab, host, plain):
        roaming: list[float] = []
        beside: list[float] = []
        with _session(lab, host.through(HOST)) as ours, _session(lab, plain) as theirs:
            for number in range(runs + 1):
                for session, found in ((ours, roaming), (theirs, beside)):
                    took = [_key_ms(session) for _ in range(KEYS)]
                    if number:
                        found.append(statistics.quantiles(took, n=10)[0])
        return Pair(roaming, beside)


def keys_beside_strangers(runs: int) -> Pair:
    """Return the ms from a key to its echo through a TCP port with 200 silent strangers there, and without them.

    As in `keystrokes`, of the fastest tenth of each run.
    """
    with rig(by_port=True) as (lab, host, _), _session(lab, host.through(HOST)) as session:
        beside: list[float] = []
        alone: list[float] = []
        for _ in range(runs):
            alone.append(_fastest_tenth_ms(session))
            words = [sys.executable, "-I", "-c", STRANGERS, ADDRESS, str(LINK_PORT)]
            strangers = lab.laptop.popen(words, stdout=subprocess.PIPE)
            assert strangers.stdout  # noqa: S101 - it is a pipe
            strangers.stdout.readline()
            beside.append(_fastest_tenth_ms(session))
            strangers.kill()
            strangers.wait()
        return Pair(beside, alone)


def _fastest_tenth_ms(session: subprocess.Popen[str]) -> float:
    return statistics.quantiles([_key_ms(session) for _ in range(KEYS)], n=10)[0]


def keys_during_upload(keys: int) -> Pair:
    """Return the ms from a key to its echo while the same master uploads over 1 Mbit/s, RTT 50 ms."""
    with Lab(rtt_ms=50) as lab:
        lab.join("home")
        lab.sshd()
        lab.ssh_config({HOST: {"HostName": SERVER}})
        near = NearRelay(lab)
        control = str(lab.files.runtime / "plain")
        plain = lab.laptop.popen(["ssh", "-M", "-N", "-S", control, HOST])
        wait_for(lambda: Path(control).exists(), "the plain master listens")
        with RoamingHost(lab, near, HOST, inner=INNER, outer=OUTER) as host:
            host.connect(direct=True)
            lab.set_bandwidth(1, queue_bytes=256_000)
            beside = _during_upload(lab, ["ssh", "-S", control, "-o", "ControlMaster=no", HOST], keys)
            plain.kill()
            plain.wait()
            time.sleep(DRAIN_S)
            roaming = _during_upload(lab, host.through(HOST), keys)
        near.close()
        return Pair(roaming, beside)


def _during_upload(lab: Lab, words: list[str], keys: int) -> list[float]:
    with _session(lab, words) as session:
        _key_ms(session)
        line = f"head -c 50000000 /dev/zero | {' '.join(words)} 'cat >/dev/null'"
        upload = lab.laptop.popen(["sh", "-c", line])
        time.sleep(DRAIN_S)  # wait until the queues are full
        took = [_key_ms(session) for _ in range(keys)]
        upload.kill()
        return took


@contextlib.contextmanager
def _session(lab: Lab, words: list[str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    session = lab.laptop.popen([*words, "cat"], stdin=pipe, stdout=pipe)
    yield session
    session.kill()


def _key_ms(session: subprocess.Popen[str]) -> float:
    assert session.stdin and session.stdout  # noqa: S101 - both are pipes
    time.sleep(0.003)  # each key alone, as from a keyboard
    begin = time.monotonic()
    os.write(session.stdin.fileno(), b"k")
    os.read(session.stdout.fileno(), 1)
    return (time.monotonic() - begin) * 1000


def idle(seconds: float) -> tuple[int, float, float]:
    """Return, with ten hosts, the near relay's context switches in `seconds`, its RSS, and the RSS of one far relay."""
    with rig() as (lab, first, _), contextlib.ExitStack() as stack:
        hosts = [first]
        for _ in range(HOSTS - 1):
            host = stack.enter_context(RoamingHost(lab, first.near, HOST, inner=INNER, outer=OUTER))
            host.connect(install=False, direct=True)
            hosts.append(host)
        for host in hosts:
            lab.laptop.check(host.through(HOST, "true"))
        time.sleep(3)  # wait for the last acknowledgements
        pid = first.near.pid
        before = own_switches(pid)
        time.sleep(seconds)
        switches = own_switches(pid) - before
        far = first.far("list")["relays"][0]["pid"]
        return switches, rss_mb(pid), rss_mb(far)
