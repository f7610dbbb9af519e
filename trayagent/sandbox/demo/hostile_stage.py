"""The participants in the hostile demo: two hosts on one server, an open session, and the agent."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from trayagent.sandbox import network_map as plan
from trayagent.sandbox.demo.stage import FORWARD, HOST, Stage
from trayagent.sandbox.ssh_config_of_laptop import Options

BACKUP = "backup"
HOSTS = (HOST, BACKUP)
# Delayed acknowledgements take 40 ms; a busy machine gets more time.
QUIET_S = 0.3


class HostileStage(Stage):
    """The participants of the main demo, a second host, and an open session to the first host."""

    config = f'[hosts.{HOST}]\nlocal = ["{FORWARD}"]\n\n[hosts.{BACKUP}]\n'
    hosts: Mapping[str, Options] = {
        name: {"HostName": plan.SERVER, "ControlPath": "~/.ssh/cm-%n"} for name in HOSTS
    }

    def start_agent(self) -> None:
        """Start the agent, and return when both hosts are connected."""
        super().start_agent()
        for name in HOSTS:
            self.agent.wait_state(name, "connected", self.deadline_s)
        self.events.drain()  # the first act must not print the events of the start

    def open_session(self) -> None:
        """Start `ssh HOST cat` through the agent's master."""
        pipe = subprocess.PIPE
        self._session = self.lab.laptop.popen([self.lab.ssh, HOST, "cat"], stdin=pipe, stdout=pipe)
        self._ends.callback(self._end_session)
        if not self.session_answers("first"):
            raise self.failure("the session did not answer")

    def session_answers(self, line: str) -> bool:
        """Report whether the open session echoes a line in time."""
        given, taken = self._session.stdin, self._session.stdout
        assert given is not None and taken is not None  # noqa: S101 - they are pipes
        try:
            given.write(f"{line}\n")
            given.flush()
        except BrokenPipeError:
            return False
        limit, seen = time.monotonic() + self.deadline_s, b""
        while not seen.endswith(f"{line}\n".encode()):
            if not select.select([taken], [], [], max(0.0, limit - time.monotonic()))[0]:
                return False
            chunk = os.read(taken.fileno(), 4096)
            if not chunk:
                return False
            seen += chunk
        return True

    def settle(self) -> None:
        """Wait until no data is in flight on either connection.

        `status` makes the agent probe each master. TCP retransmits data more and more rarely if the laptop
        leaves before the server acknowledged it. Back at home, the agent would then replace the silent
        connection.
        """
        for name in HOSTS:
            done = self.lab.laptop.run([self.lab.ssh, name, "true"], deadline_s=self.deadline_s)
            if done.returncode != 0:
                raise self.failure(f"ssh {name} true failed")
        time.sleep(QUIET_S + self.rtt_ms / 1000)

    def masters(self) -> dict[str, int | None]:
        """Return the pid of each host's master, as `status` shows it."""
        return {name: (self.agent.host(name) or {}).get("pid") for name in HOSTS}

    def living(self) -> dict[str, int]:
        """Return those masters in `status` whose process is running."""
        return {name: pid for name, pid in self.masters().items() if pid and Path(f"/proc/{pid}").exists()}

    def all_connected(self) -> bool:
        """Report whether `status` shows every host as connected."""
        return all((self.agent.host(name) or {}).get("state") == "connected" for name in HOSTS)

    def refused(self) -> int:
        """Return how many refused logins are in the agent's records."""
        hosts = self.agent.records()["hosts"]
        kept = [hosts.get(name, {}) for name in HOSTS]
        return sum(len(host.get("refused", [])) for host in kept)

    def _end_session(self) -> None:
        self._session.kill()
        self._session.wait()
        for stream in (self._session.stdin, self._session.stdout):
            if stream is not None:
                stream.close()
