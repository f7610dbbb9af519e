"""Runs a program through an event: with the agent, with an agent that roams, and with a plain ControlMaster."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench import clients
from bench.clients import Client
from bench.recovery import QUIET_S, RTT_MS
from bench.scenarios import HOST, SCENARIOS, SERVER
from trayagent.errors import TrayagentError
from trayagent.sandbox import Agent, Lab, Terminal
from trayagent.sandbox.roaming_relays import wait_for

EVENTS = {"S1": "a move to another network", "S3": "a loss of 5 s", "S4": "a silence of 45 s"}
CONTESTANTS = {
    "trayagent": f"[hosts.{HOST}]\n",
    "trayagent, `roam = true`": f"[hosts.{HOST}]\nroam = true\n",
    "plain ControlMaster": "",
}
# Options that careful users set. The agent gets the same ssh_config.
OPTIONS: Mapping[str, str | int] = {
    "HostName": SERVER,
    "ControlMaster": "auto",
    "ControlPath": "~/.ssh/cm-%C",
    "ControlPersist": "10m",
    "ServerAliveInterval": 15,
    "ServerAliveCountMax": 3,
}
AT_ONCE_S = 5.0
GIVE_UP_S = 100.0
_START_S = 60.0
_ASK_AGAIN_S = 2.0
_FRAMES = 300  # this many frames show that a transfer has begun
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Result:
    """When an open program answered and when its next run succeeded, in seconds after the event.

    None means not within GIVE_UP_S. If this machine cannot run the program, `trouble` is the reason.
    """

    what: str = ""
    open_s: float | None = None
    again_s: float | None = None
    trouble: str | None = None


class _Open(Protocol):
    """An open program, which runs during the event."""

    def ask(self, word: str) -> None:
        """Send a question that contains a word."""

    def answered(self, word: str) -> bool:
        """Report whether the answer with this word came."""

    def ended(self) -> bool:
        """Report whether the program has ended."""


class _Script:
    """A script that prints each line of its input."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self._said = b""

    def ask(self, word: str) -> None:
        """Send a line."""
        with contextlib.suppress(BrokenPipeError):
            os.write(_descriptor(self._child.stdin), f"{word}\n".encode())

    def answered(self, word: str) -> bool:
        """Read the output so far, and report whether it contains the line."""
        out = _descriptor(self._child.stdout)
        while select.select([out], [], [], 0)[0] and (data := os.read(out, 65536)):
            self._said += data
        return f"{word}\n".encode() in self._said

    def ended(self) -> bool:
        """Report whether the script has ended."""
        return self._child.poll() is not None


class _AtTerminal:
    """A command at a terminal."""

    def __init__(self, terminal: Terminal, question: str) -> None:
        self._terminal = terminal
        self._question = question

    def ask(self, word: str) -> None:
        """Type the question."""
        with contextlib.suppress(OSError):
            self._terminal.enter(self._question.replace("%", word))

    def answered(self, word: str) -> bool:
        """Read the output so far, and report whether it contains the answer."""
        self._terminal.drain(0)
        return f"answer-{word}" in self._terminal.shown

    def ended(self) -> bool:
        """Report whether the command has ended."""
        try:
            self._terminal.ended(0)
        except TrayagentError:
            return False
        return True


def run(client: Client, event: str, config: str) -> Result:
    """Run a program through an event. `config` is the agent's configuration, or None to run no agent."""
    missing = client.missing()
    if missing is not None:
        return Result(trouble=missing)
    with Lab(rtt_ms=RTT_MS) as lab, Agent(lab) as agent:
        lab.join("home")
        lab.sshd()
        clients.prepare(lab, client)
        lab.ssh_config({HOST: {**OPTIONS, **dict([client.forward] if client.forward else [])}})
        if config:
            _connect(agent, config, roams="roam" in config)
        if client.transfers:
            lab.set_bandwidth(clients.MBIT_S)
        with _opened(lab, client) as program:
            if not _begin(lab, client, program):
                return Result(trouble="it did not start")
            sessions = _sftp_sessions(lab)
            t0 = SCENARIOS[event].happen(lab)
            lab.set_bandwidth(None)
            found = _watch(lab, client, program, t0)
            if found.what == "continues" and client.reconnects and not sessions <= _sftp_sessions(lab):
                return Result("comes back", found.open_s, found.again_s)
            return found


def _connect(agent: Agent, config: str, *, roams: bool) -> None:
    agent.start(config)
    agent.wait_state(HOST, "connected", _START_S)
    if roams:
        wait_for(lambda: ((agent.host(HOST) or {}).get("roaming") or {}).get("attached"), "the host roams")


@contextlib.contextmanager
def _opened(lab: Lab, client: Client) -> Iterator[_Open]:
    """Start the open program."""
    words = ["sh", "-c", client.open]
    env = {"PATH": f"{Path(lab.ssh).parent}:{clients.path()}"}
    if client.terminal is not None:
        with Terminal(lab.laptop, words, env) as terminal:
            yield _AtTerminal(terminal, client.terminal)
    else:
        pipe = subprocess.PIPE
        yield _Script(lab.laptop.popen(words, env=env, stdin=pipe, stdout=pipe))


def _begin(lab: Lab, client: Client, program: _Open) -> bool:
    """Wait until the program works. Then wait until no data is in flight, unless the program is a transfer."""
    limit, asked, number = time.monotonic() + _START_S, 0.0, 0
    before = _carried(lab)
    while time.monotonic() < limit and not program.ended():
        if client.transfers:
            if client.begun(lab) if client.begun else _carried(lab) - before > _FRAMES:
                return True
        elif any(program.answered(f"before-{n}") for n in range(number)):
            time.sleep(QUIET_S)
            return True
        elif time.monotonic() > asked + _ASK_AGAIN_S:
            program.ask(f"before-{number}")
            asked, number = time.monotonic(), number + 1
        time.sleep(_POLL_S)
    return False


def _watch(lab: Lab, client: Client, program: _Open, t0: float) -> Result:
    """Send questions to the open program, and start the program again until a run succeeds."""
    program.ask("after")
    env = {"PATH": f"{Path(lab.ssh).parent}:{clients.path()}", "TERM": "xterm"}
    again = lab.laptop.popen(["sh", "-c", f"until ( {client.again} ); do sleep 0.2; done"], env=env)
    what, open_s, again_s = "hangs", None, None
    while (after_s := time.monotonic() - t0) < GIVE_UP_S and (open_s is None or again_s is None):
        if open_s is None and program.answered("after"):
            what, open_s = "continues", after_s
        elif open_s is None and program.ended():
            what, open_s = "ends at once" if after_s <= AT_ONCE_S else "hangs, then ends", after_s
        if again_s is None and again.poll() == 0:
            again_s = after_s
        time.sleep(_POLL_S)
    return Result(what, open_s, again_s)


def _sftp_sessions(lab: Lab) -> set[int]:
    """Return the processes of the laptop's ssh clients that run sftp."""
    found = set()
    for pid in lab.laptop.pids():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0] == b"ssh" and b"sftp" in words:
                found.add(pid)
    return found


def _carried(lab: Lab) -> int:
    return sum(line["carried"] for line in lab.carried().values())


def _descriptor(stream: object) -> int:
    fileno = getattr(stream, "fileno", None)
    assert fileno  # noqa: S101  # it is a pipe
    return int(fileno())
