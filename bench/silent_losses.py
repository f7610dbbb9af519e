"""Measures connections that are lost, or only silent, without any event of the kernel."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench import steady_client
from bench.contestants import AUTOSSH, CONTROL_MASTER, FORWARD_PORT, Contestant, Trayagent
from bench.recovery import RTT_MS
from bench.scenarios import HOST, SERVER
from trayagent.sandbox import Lab

CONTESTANTS: tuple[Contestant, ...] = (Trayagent(), AUTOSSH, CONTROL_MASTER)
AT_ONCE = 9  # laboratories; most of their time is waiting
HOLE_S = 45.0
LONG_HOLE_S = 120.0
BAD_LINE_S = 60.0
TYPED_EVERY_S = 0.5
UNUSED_S = 5.0  # no program uses the lost connection for this long
GIVE_UP_S = 240.0
SETTLED_S = 3.0  # a connection is at least this old, so that no login is in progress
IN_USE_GOAL_S, FIRST_USE_GOAL_S, AFTER_HOLE_GOAL_S = 15.0, 5.0, 2.0


class User:
    """The user of the forward: a `steady_client` with the times of its answers and of the ends of its connections."""

    def __init__(self, lab: Lab, size: int, period_s: float) -> None:
        words = [sys.executable, "-I", steady_client.__file__, str(FORWARD_PORT), str(size), str(period_s)]
        self._child = lab.laptop.popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._changed = threading.Condition()
        self.answered: list[float] = []
        self.ended: list[float] = []
        threading.Thread(target=self._follow, daemon=True).start()
        if not period_s:
            self.use()
        self.answer_after(0.0)

    def _follow(self) -> None:
        for line in self._child.stdout or ():
            told = json.loads(line)
            with self._changed:
                self.answered += [told["answered"]] if "answered" in told else []
                self.ended += [told["ended"]] if "ended" in told else []
                self._changed.notify_all()

    def use(self) -> None:
        """Send one line."""
        if self._child.stdin is not None:
            self._child.stdin.write("\n")
            self._child.stdin.flush()

    def answer_after(self, at: float) -> float | None:
        """Return when the first answer after this time came, or None if none came within GIVE_UP_S."""
        with self._changed:
            self._changed.wait_for(lambda: self.answered and self.answered[-1] > at, GIVE_UP_S)
            return next((one for one in self.answered if one > at), None)

    def close(self) -> None:
        """End the program."""
        self._child.kill()
        self._child.wait()


@dataclass(frozen=True)
class Found:
    """The result of one run: seconds until an answer (None: none in time), and how many connections ended."""

    seconds: float | None
    ended: int


Event = Callable[[Lab, User], float]
"""Causes the loss and returns t0, the start of the measurement."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    `size` and `period_s` are those of the user's lines (period 0: none by itself). `age_s` is the age of the connection
    at the loss. `goal_s` is the most that the median may be. `loses`: the connection is lost, so a session ends with
    it. `longest`: the result is the longest time without an answer. `slow`: only with --old.
    """

    title: str
    event: Event
    age_s: float = SETTLED_S
    period_s: float = 0.5
    goal_s: float | None = None
    size: int = 20
    loses: bool = False
    longest: bool = False
    slow: bool = False


def _lost_in_use(lab: Lab, _user: User) -> float:
    return _lose(lab)


def _lost_unused(lab: Lab, user: User) -> float:
    _lose(lab)
    time.sleep(UNUSED_S)
    return _used(user)


def _lose(lab: Lab) -> float:
    """Make the gateway forget each connection to the server, as after the loss of its NAT table."""
    for port in _ports_to_server(lab):
        lab.lose_connection("home", port)
    return time.monotonic()


def _ports_to_server(lab: Lab) -> Iterator[int]:
    """Yield the laptop's port of each established connection to port 22: proc(5), /proc/net/tcp."""
    for line in lab.laptop.check(["cat", "/proc/net/tcp"]).splitlines()[1:]:
        _, local, peer, state, *_ = line.split()
        if peer.endswith(":0016") and state == "01":
            yield int(local.partition(":")[2], 16)


def _hole(lab: Lab, seconds: float) -> float:
    lab.blackhole(True)
    time.sleep(seconds)
    lab.blackhole(False)
    return time.monotonic()


def _server_sends(seconds: float) -> Event:
    """Return a hole that begins while answers are on their way."""
    return lambda lab, _user: _hole(lab, seconds)


def _laptop_sends(lab: Lab, user: User) -> float:
    """Use the connection during the hole, but not before it, so that no answer is on its way when the hole begins."""
    lab.blackhole(True)
    until = time.monotonic() + HOLE_S
    while time.monotonic() < until:
        user.use()
        time.sleep(TYPED_EVERY_S)
    lab.blackhole(False)
    return time.monotonic()


def _unused_in_hole(lab: Lab, user: User) -> float:
    _hole(lab, HOLE_S)
    return _used(user)


def _used(user: User) -> float:
    at = time.monotonic()
    user.use()
    return at


def _large_packets_vanish(lab: Lab, _user: User) -> float:
    lab.swallow_above(1000)
    time.sleep(HOLE_S)
    lab.swallow_above(None)
    return time.monotonic()


def _slow_line(lab: Lab, _user: User) -> float:
    began = time.monotonic()
    lab.set_bandwidth(1, queue_bytes=256_000)
    time.sleep(BAD_LINE_S)
    lab.set_bandwidth(None)
    return began


def _lossy_line(lab: Lab, _user: User) -> float:
    began = time.monotonic()
    lab.set_loss(0.3)
    time.sleep(BAD_LINE_S)
    lab.set_loss(0.0)
    return began


def _holes(age_s: float, name: str, *, slow: bool = False) -> dict[str, Row]:
    title = f"hole of 45 s, connection {name} old"
    goal_s = AFTER_HOLE_GOAL_S
    return {
        f"hole-idle-{age_s:.0f}": Row(f"{title}, unused", _unused_in_hole, age_s, 0, goal_s, slow=slow),
        f"hole-{age_s:.0f}": Row(
            f"{title}, only the laptop sends", _laptop_sends, age_s, 0, goal_s, slow=slow
        ),
    }


ROWS: dict[str, Row] = {
    "lost-idle": Row(
        "flow lost, first use 5 s later", _lost_unused, period_s=0, goal_s=FIRST_USE_GOAL_S, loses=True
    ),
    "lost": Row("flow lost, in use", _lost_in_use, goal_s=IN_USE_GOAL_S, loses=True),
    **_holes(3, "3 s"),
    **_holes(25, "25 s"),
    **_holes(600, "10 min", slow=True),
    "hole-both": Row("hole of 45 s, the server sends, too", _server_sends(HOLE_S), period_s=0.02),
    "hole-120": Row("hole of 120 s, the server sends, too", _server_sends(LONG_HOLE_S), period_s=0.02),
    "mtu": Row("45 s without large packets, in use", _large_packets_vanish, size=3000),
    "slow": Row("60 s of 1 Mbit/s with a full queue", _slow_line, size=60_000, period_s=0.2, longest=True),
    "lossy": Row("60 s of 30 % loss, in use", _lossy_line, longest=True),
}


def measure(row: Row, contestant: Contestant) -> Found:
    """Run a row once with one contestant."""
    with _laboratory() as lab, contestant.running(lab, HOST, ""):
        user = User(lab, row.size, row.period_s)
        try:
            time.sleep(row.age_s)
            ended = len(user.ended)
            t0 = row.event(lab, user)
            at = user.answer_after(time.monotonic() if row.longest else t0)
            seconds = _longest(user, t0) if row.longest else at - t0 if at is not None else None
            return Found(seconds, len(user.ended) - ended)
        finally:
            user.close()


def _longest(user: User, since: float) -> float:
    times = [since, *(at for at in user.answered if at > since)]
    return max(later - earlier for earlier, later in pairwise(times))


@contextmanager
def _laboratory() -> Iterator[Lab]:
    with Lab(rtt_ms=RTT_MS) as lab:
        lab.join("home")
        lab.sshd()
        lab.echo(8000)
        lab.ssh_config({HOST: {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%C"}})
        yield lab


def measure_all(keys: Iterable[str], runs: int, say: Callable[[str], None]) -> bool:
    """Print the table of these rows. Report whether a goal was missed or a session ended without need."""
    keys = tuple(keys)
    present = [c for c in CONTESTANTS if c is not AUTOSSH or shutil.which("autossh") is not None]
    load = Path("/proc/loadavg").read_text().split()[0]
    say(f"silent losses: round trip {RTT_MS:.0f} ms, {runs} runs, {time.strftime('%-d %B %Y')}, load {load}")
    say(f"| | {' | '.join(c.name for c in present)} |")
    say(f"|---{'|---' * len(present)}|")
    missed = False
    with ThreadPoolExecutor(AT_ONCE) as pool:
        todo = {
            key: [[pool.submit(measure, ROWS[key], c) for _ in range(runs)] for c in present] for key in keys
        }
        for key, columns in todo.items():
            row = ROWS[key]
            found = [[one.result() for one in column] for column in columns]
            say(f"| {row.title} | {' | '.join(map(_cell, found))} |")
            ours, *peers = [_median(column) for column in found]
            best = min(peers, default=ours)
            if row.goal_s is not None and ours > (min(row.goal_s, best) if key == "lost" else row.goal_s):
                missed = True
                say(
                    f"<!-- {key}: {ours:.1f} s, the goal is {row.goal_s:.0f} s, the best peer {best:.1f} s -->"
                )
            if not row.loses and any(one.ended for one in found[0]):
                missed = True
                say(f"<!-- {key}: a healthy session ended -->")
    say(f"load at the end {Path('/proc/loadavg').read_text().split()[0]}")
    return missed


def _median(column: list[Found]) -> float:
    return statistics.median(float("inf") if one.seconds is None else one.seconds for one in column)


def _cell(column: list[Found]) -> str:
    ended = sum(one.ended > 0 for one in column)
    median = _median(column)
    shown = "∞" if median == float("inf") else f"{median:.1f} s"
    return f"{shown}, {ended} of {len(column)} ended" if ended else shown
