"""A user with a healthy setup, which a test breaks in one way, and the report of the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 30.0
SOURCE = Path(__file__).parents[2]
# An environment without the ssh-agent, desktop, buses and directories of the user who runs the tests.
OF_THE_USER = (
    "SSH_",
    "DBUS_",
    "XDG_",
    "TRAYAGENT_",
    "DISPLAY",
    "WAYLAND_",
    "COLUMNS",
    "NO_COLOR",
    "FORCE_COLOR",
)
LISTENER = """
import os, socket, sys
kind, where = sys.argv[1:]
if kind == "unix":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(where)
else:
    listener = socket.socket()
    listener.bind(("127.0.0.1", int(where)))
listener.listen()
print(listener.getsockname()[1] if kind == "tcp" else where, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Report:
    """The output of `doctor --json` and the exit status."""

    status: int
    told: dict[str, Any]

    @property
    def findings(self) -> list[dict[str, Any]]:
        """All findings."""
        found: list[dict[str, Any]] = self.told["findings"]
        return found

    @property
    def ailing(self) -> set[str]:
        """The codes of all findings that are not "ok"."""
        return {f["code"] for f in self.findings if f["level"] != "ok"}

    def one(self, code: str, level: str, topic: str) -> dict[str, Any]:
        """Return the only finding with that code. Check that it contains the error, the reason and the remedy."""
        (found,) = (f for f in self.findings if f["code"] == code)
        assert (found["level"], found["topic"]) == (level, topic), found
        assert found["title"]
        assert found["why"]
        assert found["remedy"] or found["lines"]
        assert (self.status, self.told["ok"]) == ((1, False) if self.told["counts"]["problem"] else (0, True))
        assert level != "problem" or self.status == 1
        return found

    def well(self, topic: str) -> dict[str, Any]:
        """Return the only finding of a topic. Check that it is "ok"."""
        (found,) = (f for f in self.findings if f["topic"] == topic)
        assert found["level"] == "ok", found
        return found


class Patient:
    """One user in a directory that holds all files of ssh and trayagent."""

    def __init__(self, folder: Path, keys: tuple[Path, Path]) -> None:
        self.folder = folder
        self.key, host_key = keys
        self.config = folder / "config.toml"
        self.ssh_config = folder / "ssh_config"
        self.known_hosts = folder / "known_hosts"
        self.sockets = folder / "cm"
        self.run_dir = folder / "run"
        self.state = folder / "state"
        self.home = folder / "home"
        for made in (self.sockets, self.run_dir, self.state, self.home):
            made.mkdir(mode=0o700)
        self.known_hosts.write_text(f"box.example {host_key.with_suffix('.pub').read_text()}")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(OF_THE_USER)} | {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.run_dir),
            "TRAYAGENT_CONFIG": str(self.config),
            "TRAYAGENT_RUNTIME_DIR": str(self.run_dir / "trayagent"),
            "TRAYAGENT_STATE_DIR": str(self.state),
            "TRAYAGENT_SSH_CONFIG": str(self.ssh_config),
            "PYTHONPATH": str(SOURCE),
            "LC_ALL": "C.UTF-8",
        }
        self.configure("[hosts.box]\n")
        self.ssh()

    def configure(self, toml: str) -> None:
        """Replace the configuration."""
        self.config.touch(mode=0o600)
        self.config.write_text(toml)

    def ssh(self, first: str = "", last: str = "", **box: str) -> None:
        """Write ssh_config: `first`, then the host `box` with these options and the defaults, then `last`."""
        options = {
            **box,
            "HostName": box.get("HostName", "box.example"),
            "ControlPath": box.get("ControlPath", f"{self.sockets}/%C"),
            "IdentityFile": box.get("IdentityFile", str(self.key)),
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
        }
        lines = (f"    {key} {value}" for key, value in options.items() if value)
        self.ssh_config.write_text("\n".join([first, "Host box", *lines, last]) + "\n")
        self.ssh_config.chmod(0o600)

    def command(self, *words: str, under: Sequence[str] = (), **env: str) -> subprocess.CompletedProcess[str]:
        """Run a trayagent command to its end. `under` is put before its command line."""
        return subprocess.run(
            [*under, sys.executable, "-m", "trayagent", *words],
            env=self.env | env, cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", timeout=DEADLINE_S, check=False,
        )  # fmt: skip

    def examine(self, *, under: Sequence[str] = (), **env: str) -> Report:
        """Run `doctor --json`. Check that it prints its object and nothing else."""
        done = self.command("doctor", "--json", under=under, **env)
        assert (done.stderr, done.returncode in {0, 1}) == ("", True), done.stderr
        return Report(done.returncode, json.loads(done.stdout))

    @contextmanager
    def listener(self, kind: str, where: str, under: Sequence[str] = ()) -> Iterator[tuple[int, str]]:
        """Run a program that listens on a Unix socket or a TCP port (0: any). Yield its pid and its address."""
        words = [*under, sys.executable, "-I", "-c", LISTENER, kind, where]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                yield child.pid, child.stdout.readline().strip()
            finally:
                child.stdin.close()  # the listener ends at the end of its input, and `under` ends with it
                child.wait(DEADLINE_S)

    @contextmanager
    def agent(self, source: Path = SOURCE) -> Iterator[subprocess.Popen[bytes]]:
        """Run a real agent from the package in that directory."""
        words = [sys.executable, "-m", "trayagent", "run", "--no-tray"]
        with subprocess.Popen(words, env=self.env | {"PYTHONPATH": str(source)}, cwd=self.folder) as child:
            try:
                until("the agent answers", lambda: self.command("status", "--json").returncode == 0)
                yield child
            finally:
                child.terminate()
                child.wait(DEADLINE_S)


def until(what: str, condition: Callable[[], object]) -> None:
    """Poll until the condition is true."""
    limit = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.02)


def keygen(path: Path, passphrase: str = "") -> Path:
    """Create a key pair without a passphrase, or with this one."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(words, check=True, timeout=DEADLINE_S)
    return path


def script(path: Path, text: str) -> Path:
    """Create an executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def no_root() -> list[str]:
    """Return a command line that lets root run a program as an ordinary user, in a user namespace."""
    words = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.getuid() == 0 else []
    if words and subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        assert not os.environ.get("CI"), "user namespaces are not available"
        pytest.skip("user namespaces are not available")
    return words
