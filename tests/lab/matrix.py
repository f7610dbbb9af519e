"""Helpers for the tests of the network matrix: a host that is up, and checks that a master was kept or replaced."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trayagent.errors import TrayagentError
from trayagent.sandbox import UNAVAILABLE, Agent, Lab
from trayagent.sandbox.agent_events import WAIT_S, Events
from trayagent.sandbox.network_map import SERVER

HOST = "web01"
OPTIONS: Mapping[str, str | int | list[str]] = {"HostName": SERVER, "ControlPath": "~/.ssh/cm-%C"}
# Each of these events means that the agent acted on a living master.
HARM = {"master-stale", "master-killed", "disconnected", "connected", "connect-failed"}


def need(present: object, what: str) -> None:
    """If something is missing, skip on a desktop, but fail in CI."""
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


def laboratory(*, ipv6: bool = False, ssh: str | None = None) -> Lab:
    """Build a laboratory with a round-trip time of 50 ms. If the machine cannot, skip, but not in CI."""
    try:
        return Lab(rtt_ms=50, ipv6=ipv6, ssh=ssh)
    except TrayagentError as error:
        if error.code in UNAVAILABLE and not os.environ.get("CI"):
            pytest.skip(str(error))
        raise


def alive(pid: int) -> bool:
    """Report whether a process exists (a zombie does not count)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(what: str, condition: Callable[[], object], deadline_s: float = WAIT_S) -> None:
    """Poll until the condition is true. Fail with `what` after the deadline."""
    limit = time.monotonic() + deadline_s
    while True:
        began = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < limit, f"not within {deadline_s:g} s: {what}"
        # A condition that runs a command or scans /proc takes processor time from the other tests.
        time.sleep(max(0.05, 2 * (now - began)))


def listener(lab: Lab, host: str = HOST) -> int | None:
    """Return the pid of the master that now answers on the host's control path, as ssh reports it."""
    said = lab.laptop.run(["ssh", "-O", "check", host]).stderr
    found = re.search(r"Master running \(pid=(\d+)\)", said)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Up:
    """A connected host: its view at the start of the test, and a reader of all later events."""

    lab: Lab
    agent: Agent
    events: Events
    before: dict[str, Any]

    @property
    def name(self) -> str:
        """The host's name."""
        return str(self.before["name"])

    @property
    def pid(self) -> int:
        """The master's process id."""
        return int(self.before["pid"])

    def about(self, quiet_s: float = 0.5) -> list[dict[str, Any]]:
        """Wait until no event has come for `quiet_s`. Return the events about this host so far."""
        return [e for e in self.events.drain(quiet_s) if e["host"] == self.name]

    def assert_kept(
        self,
        *,
        proven: bool,
        quiet_s: float = 0.5,
        deadline_s: float = WAIT_S,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Check that the same process still carries sessions, and that the agent did not touch that process.

        If `proven`, the agent suspected the master and then got a proof of life. Otherwise the agent did not even
        probe it. `then` is called after this check, before a session uses the master.
        """
        if proven:
            kept = self.events.wait("master-kept", self.name, deadline_s=deadline_s)
            assert kept["pid"] == self.pid
        then()
        told = [e["event"] for e in self.about(quiet_s)]
        assert not HARM & set(told), told
        assert proven == ("master-kept" in told), told
        assert listener(self.lab, self.name) == self.pid
        done = self.lab.laptop.run(["ssh", "-o", "ControlMaster=no", self.name, "true"])
        assert done.returncode == 0, done.stderr
        assert self.agent.wait_state(self.name, "connected")["pid"] == self.pid


def bring_up(
    lab: Lab, agent: Agent, config: str = f"[hosts.{HOST}]\n", host: str = HOST, **options: str
) -> Up:
    """Connect the host and return it. If there is no server yet, start one and join the home network."""
    if not lab.servers:
        lab.join("home")
        lab.sshd()
    if host == HOST:
        lab.ssh_config({HOST: {**OPTIONS, **options}})
    agent.start(config)
    agent.wait_state(host, "connected")
    until("the sentinel is up", lambda: _has_session(lab))
    view = agent.wait_state(host, "connected")
    return Up(lab, agent, agent.events(), view)


def _has_session(lab: Lab) -> bool:
    """Report whether the server runs a command for the laptop: the sentinel's `cat`, the last step of connecting."""
    return any("cat" in _words(pid) for server in lab.servers for pid in server.sessions())


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


@contextmanager
def logged(agent: Agent) -> Iterator[None]:
    """Add the agent's log to a failure, for agents that are not a fixture."""
    try:
        yield
    except BaseException as error:
        log = agent.state_dir / "agent.log"
        error.add_note(log.read_text()[-20_000:] if log.exists() else "the agent logged nothing")
        raise


SOCKS = """
import socket, struct, sys, time
def take(sock, size):
    got = b""
    while len(got) < size:
        more = sock.recv(size - len(got))
        if not more:
            raise OSError("closed")
        got += more
    return got
proxy, target, limit = int(sys.argv[1]), int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
while True:
    try:
        with socket.create_connection(("127.0.0.1", proxy), timeout=1) as sock:
            sock.sendall(bytes((5, 1, 0)))
            take(sock, 2)
            sock.sendall(bytes((5, 1, 0, 1, 127, 0, 0, 1)) + struct.pack(">H", target))
            assert take(sock, 10)[1] == 0
            sock.sendall(b"hello")
            assert take(sock, 5) == b"hello"
            break
    except OSError as error:
        if time.monotonic() > limit:
            sys.exit(str(error))
        time.sleep(0.02)
"""


def through_socks(lab: Lab, proxy: int, target: int, deadline_s: float = 10.0) -> None:
    """Check that the server's echo service answers through a dynamic forward."""
    lab.laptop.check([sys.executable, "-I", "-c", SOCKS, str(proxy), str(target), str(deadline_s)])


def typed(lab: Lab, t0: float, *, steps: int = 21, every_s: float = 0.05) -> list[subprocess.Popen[str]]:
    """Start `ssh HOST true` at t0 and every 50 ms after, because a user may type it at any of these times."""
    children = []
    for step in range(steps):
        time.sleep(max(0.0, t0 + step * every_s - time.monotonic()))  # the moment at which this ssh starts
        children.append(lab.laptop.popen(["ssh", HOST, "true"], stderr=subprocess.PIPE))
    return children
