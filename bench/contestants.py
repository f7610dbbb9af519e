"""The programs to compare. Each opens a forward and keeps it open."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from trayagent.sandbox import Agent, Lab
from trayagent.sandbox.forward_stopwatch import Probe

FORWARD_PORT = 9000
TARGET = f"{FORWARD_PORT}:127.0.0.1:8000"


class Contestant(Protocol):
    """Keeps a forward on FORWARD_PORT open; `name` is its name in the table."""

    @property
    def name(self) -> str:
        """The name in the table."""

    def running(
        self, lab: Lab, host: str, config: str, *, remote: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        """Start the program, wait until the forward works, and end all its processes afterwards.

        `remote`: the forward listens on the server (-R).
        """


def forward_probe(lab: Lab, *, remote: bool) -> Probe:
    """Return a stopwatch for the forward, on the side where it listens."""
    return lab.probe(FORWARD_PORT, node=lab.server if remote else None)


def works(lab: Lab, deadline_s: float = 30.0, *, remote: bool = False) -> None:
    """Wait until the forward answers. Raises TrayagentError after the deadline."""
    with forward_probe(lab, remote=remote) as probe:
        probe.release()
        probe.result(deadline_s)


@dataclass(frozen=True)
class Trayagent:
    """The agent, started as a user would."""

    name: str = "trayagent"

    @contextlib.contextmanager
    def running(self, lab: Lab, host: str, config: str, *, remote: bool = False) -> Iterator[None]:
        """Run the agent on the laptop."""
        with Agent(lab) as agent:
            agent.start(f'[hosts.{host}]\n{"remote" if remote else "local"} = ["{TARGET}"]\n{config}')
            agent.wait_state(host, "connected")
            works(lab, remote=remote)
            yield
            agent.cli("disconnect", host)  # end the masters, too, because they would outlive the agent


@dataclass(frozen=True)
class Command:
    """A command line that keeps an ssh with the forward running.

    HOST, CONFIG, FLAG and FORWARD in `words` are replaced.
    """

    name: str
    words: tuple[str, ...]
    needs: str | None = None

    @contextlib.contextmanager
    def running(self, lab: Lab, host: str, config: str, *, remote: bool = False) -> Iterator[None]:
        """Run the command on the laptop."""
        del config
        child = self.start(lab, host, remote=remote)
        try:
            works(lab, remote=remote)
            yield
        finally:
            end(child)

    def start(self, lab: Lab, host: str, *, remote: bool = False) -> subprocess.Popen[str]:
        """Start the command and return at once."""
        config = str(lab.files.ssh / "config")
        there = {"HOST": host, "CONFIG": config, "FLAG": "-R" if remote else "-L", "FORWARD": TARGET}
        words = list(self.words)
        for name, value in there.items():
            words = [w.replace(name, value) for w in words]
        return lab.laptop.popen(words)


@dataclass(frozen=True)
class Supervised:
    """A command that starts its ssh again, beside an agent with `beside = "end"`.

    `pause_s` is the time that the command waits before it starts ssh again.
    """

    command: Command
    pause_s: float = 0.0

    @property
    def name(self) -> str:
        """The name in the table."""
        return f'{self.command.name}, and `beside = "end"`'

    @contextlib.contextmanager
    def running(self, lab: Lab, host: str, config: str, *, remote: bool = False) -> Iterator[None]:
        """Run the command beside an agent that has no other setting and opens no connection itself."""
        with Agent(lab) as agent:
            agent.start('[agent]\nbeside = "end"\n')
            with self.command.running(lab, host, config, remote=remote):
                yield


def end(child: subprocess.Popen[str]) -> None:
    """End a command and everything that it started, by its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


_SSH = (
    "ssh",
    "-F",
    "CONFIG",
    "-N",
    "FLAG",
    "FORWARD",
    "-o",
    "ControlPath=none",
    "-o",
    "ExitOnForwardFailure=yes",
)
_ALIVE = ("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3")
_LOOP = "while :; do {ssh}; sleep {pause}; done"

COLD = Command("cold ssh -N -L", (*_SSH, "HOST"))
AUTOSSH = Command(
    "autossh -M 0, alive 10x3", ("autossh", "-M", "0", *_SSH[1:], *_ALIVE, "HOST"), needs="autossh"
)
RESTART = Command(
    "ssh -N, alive 10x3, restarted after 5 s",
    ("sh", "-c", _LOOP.format(ssh=" ".join((*_SSH, *_ALIVE, "HOST")), pause=5)),
)
CONTROL_MASTER = Command(
    "ControlMaster, alive 15x3, restarted after 1 s",
    (
        "sh",
        "-c",
        _LOOP.format(
            ssh="M=$(mktemp -u); ssh -F CONFIG -M -S $M -N FLAG FORWARD "
            "-o ServerAliveInterval=15 -o ServerAliveCountMax=3 HOST",
            pause=1,
        ),
    ),
)
# The best that a script can do: a restart loop, and a monitor that ends the master at each new address.
_HOME_MADE = """
M=$(mktemp -u)
while :; do
  ssh -F CONFIG -M -S $M -N FLAG FORWARD -o ExitOnForwardFailure=yes \\
      -o ServerAliveInterval=10 -o ServerAliveCountMax=3 -o ConnectTimeout=5 HOST &
  echo $! > $M.pid
  wait $!
  rm -f $M
  sleep 0.2
done &
ip -o monitor address | while read -r line; do
  case "$line" in
    Deleted*) ;;
    *) timeout 0.2 ssh -F CONFIG -S $M -O exit HOST || { kill -9 $(cat $M.pid); rm -f $M; } ;;
  esac
done
"""
HOME_MADE = Command("restart loop + `-O exit` on each new address", ("sh", "-c", _HOME_MADE))
PEERS: tuple[Command, ...] = (HOME_MADE, AUTOSSH, RESTART)
_WITHOUT_ALIVE = " ".join((*_SSH, "HOST"))
SUPERVISED = (
    # Without the gate time, autossh gives up if its first ssh ends in less than 30 s.
    Supervised(Command("autossh -M 0", ("env", "AUTOSSH_GATETIME=0", *AUTOSSH.words), needs="autossh")),
    # As systemd does with Restart=always: RestartSec is 100 ms by default.
    Supervised(
        Command("restart after 0.1 s", ("sh", "-c", _LOOP.format(ssh=_WITHOUT_ALIVE, pause=0.1))), 0.1
    ),
)
