"""One machine of the laboratory, on which commands can run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from trayagent.errors import TrayagentError
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.namespaces import World, script

Stream = int | IO[Any] | None


@dataclass(frozen=True, slots=True)
class Node:
    """A network namespace with a mount namespace and an environment.

    Commands run as the user who built the laboratory. With `admin` they may change the node's network. An
    ordinary user is then root in the namespaces, never on the machine. `through` is a command prefix, such as
    one that switches to another user or to another namespace.
    """

    name: str
    world: World
    mounts_of: str
    env: Mapping[str, str]
    through: Sequence[str] = ()

    def argv(self, command: Sequence[str], *, admin: bool = False, cwd: str | None = None) -> list[str]:
        """Return the command line that runs a command in this node, for callers that start the process themselves."""
        chdir = ["env", f"--chdir={cwd or self.env['HOME']}"]
        return [
            *self.world.enter(self.name, self.mounts_of, admin=admin),
            *self.through,
            *chdir,
            *command,
        ]

    def popen(
        self,
        command: Sequence[str],
        *,
        admin: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = subprocess.DEVNULL,
        stderr: Stream = subprocess.DEVNULL,
    ) -> subprocess.Popen[str]:
        """Start a command in its own process group. `env` is added to the node's environment.

        The pid is the pid of the command itself, in the machine's pid namespace.
        """
        words = self.argv(command, admin=admin, cwd=cwd)
        return self.world.popen(
            words, env={**self.env, **(env or {})}, stdin=stdin, stdout=stdout, stderr=stderr
        )

    def run(
        self,
        command: Sequence[str],
        *,
        admin: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        text: str | None = None,
        deadline_s: float = 30.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with `text` as its input and return its output, whatever its exit status is.

        Raises subprocess.TimeoutExpired after the deadline, once its process group is killed.
        """
        pipe = subprocess.PIPE
        child = self.popen(command, admin=admin, env=env, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            out, err = child.communicate(text or "", timeout=deadline_s)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise
        return subprocess.CompletedProcess(list(command), child.returncode, out, err)

    def check(self, command: Sequence[str], *, admin: bool = False, text: str | None = None) -> str:
        """Run a command that must succeed and return its output. Raises TrayagentError (sandbox-broken)."""
        done = self.run(command, admin=admin, text=text)
        if done.returncode != 0:
            what = (
                f"`{' '.join(command)}` failed in {self.name}: {done.stderr.strip() or done.stdout.strip()}"
            )
            raise TrayagentError(what, code="sandbox-broken", hint=(text or "").strip())
        return done.stdout

    def ip(self, *lines: str) -> float:
        """Run all the `ip` commands in one batch; return the monotonic time in seconds when they were done."""
        if lines:
            self.check([tool("ip"), "-batch", "-"], admin=True, text="\n".join(lines) + "\n")
        return time.monotonic()

    def ping(
        self, address: str, *, count: int = 1, wait_s: float = 1.0, size: int = 44
    ) -> list[float | None]:
        """Return the round trips in ms of ICMP echoes to an IPv4 address, None for each echo without an answer.

        `size` is the size of the IP packets in bytes.
        """
        words = script("ping", address, str(count), str(wait_s), str(size))
        answers: list[float | None] = json.loads(self.check(words, admin=True))
        return answers

    def pids(self) -> list[int]:
        """Return the processes in this node."""
        return self.world.processes(self.name)

    def signal(self, number: int, pids: Iterable[int] | None = None) -> None:
        """Send a signal to processes, by default to all of the node. Processes that are gone are skipped."""
        for pid in self.pids() if pids is None else pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
