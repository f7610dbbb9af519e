"""The participants in the demo: the laboratory, a real sshd, the real agent, and a plain ssh beside it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Self

from trayagent.errors import TrayagentError
from trayagent.sandbox import network_map as plan
from trayagent.sandbox.agent import Agent
from trayagent.sandbox.agent_events import Events
from trayagent.sandbox.demo.stopwatch import Stopwatch
from trayagent.sandbox.lab import Lab
from trayagent.sandbox.lab_tools import REQUIRED, how_to_install, search_path, tool
from trayagent.sandbox.ssh_config_of_laptop import Options

HOST = "server"
SERVICE_PORT = 8000
AGENT_PORT, PLAIN_PORT = 9000, 9100
FORWARD = f"{AGENT_PORT}:127.0.0.1:{SERVICE_PORT}"
PLAIN_FORWARD = f"{PLAIN_PORT}:127.0.0.1:{SERVICE_PORT}"
# With adoption the agent would also manage the plain ssh, so a comparison would be impossible.
CONFIG = f'[agent]\nadopt = false\n\n[hosts.{HOST}]\nlocal = ["{FORWARD}"]\n'
# A login takes about 16 round trips; a busy machine gets more time.
LOGIN_ROUND_TRIPS = 16
PATIENCE_S = 30.0


def check_machine() -> None:
    """Raise TrayagentError if the demo cannot run here: sandbox-forbidden, or tool-missing with all missing tools."""
    if sys.platform != "linux":
        title = "the demo runs on Linux only: it builds network namespaces"
        raise TrayagentError(title, code="sandbox-forbidden")
    # The demo needs only some tools of the laboratory, for example no NetworkManager.
    missing = [name for name in (*REQUIRED, "nft") if shutil.which(name, path=search_path()) is None]
    if missing:
        raise TrayagentError(
            f"the demo needs {', '.join(f'`{name}`' for name in missing)}, which this machine lacks",
            code="tool-missing",
            hint=f"Install: {how_to_install(*missing)}. "
            "Or, in a clone of trayagent: make demo, which starts no server outside the sandbox.",
        )


class Stage:
    """The participants of the demo, as a context manager. Leaving it ends every process.

    Raises TrayagentError if the machine cannot run it, or if an expected event does not happen.
    """

    config = CONFIG
    hosts: Mapping[str, Options] = {HOST: {"HostName": plan.SERVER}}

    def __init__(self, rtt_ms: float) -> None:
        check_machine()
        self.rtt_ms = rtt_ms
        self.deadline_s = PATIENCE_S + 2 * LOGIN_ROUND_TRIPS * rtt_ms / 1000
        self._ends = ExitStack()
        self.lab = self._ends.enter_context(Lab(rtt_ms=rtt_ms))
        self._control_path = self.lab.files.ssh / "plain"

    def start_server(self) -> str:
        """Go home, and start sshd and the service behind the forward. Return OpenSSH's version."""
        self.lab.join("home")
        self.lab.sshd()
        self.lab.echo(SERVICE_PORT)
        self.lab.ssh_config(self.hosts)
        # Before 9.3 sshd does not know the option, but its error message names the version.
        output = subprocess.run([tool("sshd"), "-V"], capture_output=True, text=True, check=False).stderr
        found = re.search(r"OpenSSH_[\w.]+", output)
        return found.group() if found else "OpenSSH"

    def start_agent(self) -> None:
        """Start the agent, and return when its forward carries data."""
        with self.stopwatch(AGENT_PORT) as watch:
            watch.release()
            self.agent = self._ends.enter_context(Agent(self.lab))
            self.agent.start(self.config)
            self.wait(watch)
        self.agent.wait_state(HOST, "connected", self.deadline_s)
        self.events: Events = self.agent.events()

    def start_plain(self) -> float:
        """Start the plain ssh; return the seconds until its forward gave its first byte."""
        words = [self.lab.ssh, "-M", "-S", str(self._control_path), "-N", "-L", PLAIN_FORWARD, HOST]
        with self.stopwatch(PLAIN_PORT) as watch:
            begin = time.monotonic()
            self.lab.laptop.popen(words)
            watch.release()
            return self.wait(watch) - begin

    def check_plain(self) -> str:
        """Return the output of `ssh -O check` for the plain ssh, "" if it is gone."""
        done = self.lab.laptop.run([self.lab.ssh, "-O", "check", "-S", str(self._control_path), HOST])
        return done.stderr.strip() if done.returncode == 0 else ""

    def master_pid(self) -> int | None:
        """Return the pid of the host's master, as the agent's `status` shows it."""
        pid: int | None = (self.agent.host(HOST) or {}).get("pid")
        return pid

    def stopwatch(self, port: int) -> Stopwatch:
        """Return a stopwatch for a forward of the laptop."""
        return Stopwatch(self.lab.laptop, port)

    def wait(self, watch: Stopwatch) -> float:
        """Return the monotonic time of the first byte. Raises TrayagentError if none comes in time."""
        at = watch.answered(self.deadline_s)
        if at is None:
            raise self.failure(f"no byte came through the forward within {self.deadline_s:.0f} s")
        return at

    def failure(self, title: str) -> TrayagentError:
        """Return an error with the agent's last decisions."""
        why = self.agent.cli("why", HOST).stdout.splitlines()
        return TrayagentError(title, code="sandbox-broken", hint=f"trayagent why: {' | '.join(why[-3:])}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.close()
