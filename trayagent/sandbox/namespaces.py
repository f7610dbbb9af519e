"""Controls the namespaces from outside: starts the holder, enters nodes, and ends everything."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from trayagent.errors import TrayagentError
from trayagent.sandbox.inside import holder
from trayagent.sandbox.lab_tools import forbidden, tool

INSIDE = Path(__file__).parent / "inside"
# Ending a few dozen processes takes milliseconds. Allow a loaded machine a thousand times as long.
CLOSE_DEADLINE_S = 15.0


def system_python() -> str:
    """Return a Python that every user of the machine may run, if there is one, else the one that runs us."""
    # Our own Python may be in a home folder that other users cannot read.
    return next(
        (p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if os.access(p, os.X_OK)), sys.executable
    )


def script(name: str, *args: str, python: str = sys.executable, inline: bool = False) -> list[str]:
    """Return the command line of a program in `inside`, independent of the user's Python settings.

    `inline`: it contains the whole program, for a user who cannot read this package.
    """
    path = INSIDE / f"{name}.py"
    program = ["-c", path.read_text(encoding="utf-8")] if inline else [str(path)]
    # -I and -S ignore the environment and site-packages. The start then takes 10 ms instead of 30.
    return [python, "-I", "-S", *program, *args]


class World:
    """The holder process and its namespaces.

    `nodes` maps each node to the sysctls of its network namespace. `mounts` maps some of them to the steps of a
    mount namespace. `prepare` is called once the holder guards the folder and before the namespaces are created, so
    that a failure leaves nothing behind. Raises TrayagentError (sandbox-forbidden) where the kernel does not allow
    namespaces.
    """

    def __init__(
        self,
        folder: Path,
        prepare: Callable[[], None],
        nodes: Mapping[str, Mapping[str, str]],
        mounts: Mapping[str, Sequence[Sequence[str]]],
    ) -> None:
        self.folder = folder
        self._children: list[subprocess.Popen[str]] = []
        self._networks: set[tuple[int, int]] = set()
        self._pins: list[int] = []
        self._holder = subprocess.Popen(
            script("holder", str(folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # keep Ctrl-C from the holder, which must clean up after we end
        )
        assert self._holder.stdin and self._holder.stdout  # noqa: S101 - both are pipes
        try:
            prepare()
            self._holder.stdin.write(json.dumps({"nodes": nodes, "mounts": mounts}) + "\n")
            self._holder.stdin.flush()
            self._held: dict[str, Any] = json.loads(
                self._holder.stdout.readline() or '{"error": "no answer"}'
            )
            if "error" in self._held:
                raise forbidden(self._held.get("errno") or 0, self._held["error"])
            # We kill processes by the inodes of their namespaces, so keep the namespaces open as long as we
            # may do that. The kernel reuses the inode of a closed namespace immediately, perhaps for another
            # laboratory.
            self._pins = [os.open(self._path(fd), os.O_RDONLY) for fd in self._held["net"].values()]
            self._networks = {holder.identity(f"/proc/self/fd/{pin}") for pin in self._pins}
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The holder's process id."""
        return self._holder.pid

    @property
    def networks(self) -> frozenset[tuple[int, int]]:
        """The device and inode of each network namespace."""
        return frozenset(self._networks)

    def _path(self, descriptor: int) -> str:
        return f"/proc/{self._holder.pid}/fd/{descriptor}"

    def netns(self, node: str) -> str:
        """Return the path of a node's network namespace, as `ip … netns PATH` takes it."""
        return self._path(self._held["net"][node])

    def enter(self, node: str, mounts_of: str, *, admin: bool) -> list[str]:
        """Return the command prefix that runs a command in a node, as its root (`admin`) or as the user.

        Raises TrayagentError (sandbox-broken) if the laboratory's files no longer cover the machine's in this
        node.
        """
        self._check_covers(mounts_of)
        words = [
            tool("nsenter"),
            f"--net={self.netns(node)}",
            f"--mount={self._path(self._held['mnt'][mounts_of])}",
        ]
        if self._held["user"] is None:
            return words
        words += [f"--user={self._path(self._held['user'])}", "--preserve-credentials"]
        if not admin:
            # Enter one namespace at a time and the user namespace last, because a process in the user's own
            # namespace cannot enter another.
            words += [tool("nsenter"), f"--user={self._path(self._held['own'])}", "--preserve-credentials"]
        return words

    def _check_covers(self, mounts_of: str) -> None:
        guard = self._held["guards"][mounts_of]
        for target, known in self._held["covers"][mounts_of].items():
            try:
                seen = holder.identity(f"/proc/{guard}/root{target}")
            except OSError:
                seen = None
            if seen != tuple(known):
                title = f"The laboratory lost its own {target}: the machine's was replaced meanwhile"
                hint = (
                    "An account or a package was added to the machine. Everything in the laboratory was ended"
                )
                raise TrayagentError(title, code="sandbox-broken", hint=hint)

    def popen(self, words: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command in its own process group.

        `close` kills the command and waits for its end, if the caller does not.
        """
        self._children = [child for child in self._children if child.poll() is None or _open_streams(child)]
        child = subprocess.Popen(list(words), text=True, start_new_session=True, **options)
        self._children.append(child)
        return child

    def processes(self, node: str) -> list[int]:
        """Return the pids of the processes in a node's network namespace."""
        return holder.processes_in({holder.identity(self.netns(node))})

    def close(self) -> None:
        """End every process in the namespaces, and the holder; remove the folder. Idempotent."""
        assert self._holder.stdin and self._holder.stdout  # noqa: S101 - both are pipes
        for child in self._children:
            child.kill()  # the holder cannot find a new child that has not entered its namespace yet
        with contextlib.suppress(BrokenPipeError):
            self._holder.stdin.close()
        try:
            self._holder.wait(CLOSE_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()
        self._holder.stdout.close()
        holder.end_processes(self._networks)  # finds a process only if the holder was killed
        self._networks = set()
        for pin in self._pins:
            os.close(pin)
        self._pins = []
        for child in self._children:
            child.wait()
            close_streams(child)
        self._children.clear()
        if os.path.lexists(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)


def _open_streams(child: subprocess.Popen[str]) -> list[IO[str]]:
    return [one for one in (child.stdin, child.stdout, child.stderr) if one and not one.closed]


def close_streams(child: subprocess.Popen[str]) -> None:
    """Close our ends of a child's pipes. Discard data that can no longer be written to the child."""
    for stream in _open_streams(child):
        with contextlib.suppress(OSError):
            stream.close()
