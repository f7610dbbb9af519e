"""Fixtures: a real sshd and real masters on loopback, as the current user; all are removed after the test."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

DEADLINE_S = 20.0
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
TOOLS = ("ssh", "sshd", "ssh-keygen")
PATH = (
    os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
)  # sshd is in a directory that an ordinary user's PATH does not contain


def poll(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until the condition is true. Fail with `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.005)


def spawn(words: list[str], stderr: BinaryIO, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a process in its own Unix session. It ends when the test process ends, for whatever reason."""
    return subprocess.Popen(
        words,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509  # the tests start their children from one thread
    )


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, prctl(2)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def children(pid: int) -> list[int]:
    """Return all descendants of a process, the nearest first."""
    found: list[int] = []
    queue = [pid]
    while queue:
        try:
            tasks = [*Path(f"/proc/{queue.pop(0)}/task").iterdir()]
            below = [int(word) for task in tasks for word in (task / "children").read_text().split()]
        except OSError:
            continue  # the process ended meanwhile
        found += below
        queue += below
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that a test started, with its descendants, and wait for it."""
    below = children(process.pid)
    for pid in (process.pid, *below):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(DEADLINE_S)
    poll(lambda: not any(_runs(pid) for pid in below), "descendants end")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass(frozen=True)
class Keys:
    """The key files, made once for the whole run."""

    host: Path
    user: Path
    authorized: Path

    @property
    def host_public(self) -> str:
        """The server's key, as in a known_hosts line."""
        return " ".join(self.host.with_suffix(".pub").read_text().split()[:2])


def _sshd_account(folder: Path) -> list[str]:
    """Return a command prefix that gives an sshd of root its account for privilege separation, if the machine lacks it.

    The machine lacks the account if sshd was only unpacked. The prefix starts sshd in its own mount namespace, in
    the same process.
    """
    if os.getuid() != 0 or any(entry.pw_name == "sshd" for entry in pwd.getpwall()):
        return []
    accounts = folder / "passwd"
    accounts.write_text(Path("/etc/passwd").read_text() + "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n")
    script = 'mount --bind "$0" /etc/passwd && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(accounts)]


class Sshd:
    """A real `sshd -D` on 127.0.0.1. `user` may log in with `keys.user`."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.folder = folder
        self.keys = keys
        self.user = pwd.getpwuid(os.getuid()).pw_name  # from the uid, because LOGNAME may be wrong
        self.port = free_port()
        self._log = folder / "sshd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start sshd. `options` are lines of sshd_config that override the lines here."""
        assert self._process is None, "sshd runs already: use restart"
        lines = (
            *options,
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.keys.host}",
            f"AuthorizedKeysFile {self.keys.authorized}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "AcceptEnv TRAY_*",
            f"SetEnv HOME={self._home()}",
        )
        config = self.folder / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        program = shutil.which("sshd", path=PATH)
        assert program  # absolute: sshd executes itself for each connection
        begin = len(self.log())
        with self._log.open("ab") as log:
            words = [program, "-D", "-e", "-f", str(config)]
            self._process = spawn([*_sshd_account(self.folder), *words], log)
        process = self._process
        poll(lambda: "Server listening" in self.log()[begin:] or process.poll() is not None, "sshd starts")
        assert process.poll() is None, self.log()

    def _home(self) -> Path:
        """Return an empty home for sessions. The start-up files of the user's shell may lock files or take long."""
        home = self.folder / "home-of-sessions"
        home.mkdir(exist_ok=True)
        return home

    def stop(self) -> None:
        """End sshd and all its connections."""
        if self._process is not None:
            end(self._process)
            self._process = None

    def restart(self, *options: str) -> None:
        """Restart sshd with other options on the same port."""
        self.stop()
        self.start(*options)

    def pids(self) -> list[int]:
        """Return the pids of sshd and of its connections."""
        return [self._process.pid, *children(self._process.pid)] if self._process is not None else []

    def log(self) -> str:
        """Return the log so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


@dataclass
class SshConfig:
    """The client's side: a configuration file with the host `box`, and an ssh that uses only this file."""

    path: Path
    folder: Path
    control_path: Path
    env: dict[str, str] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """Write lines at the start of the file, because the first value in ssh_config wins."""
        self.path.write_text(text.rstrip() + "\n" + self.path.read_text())

    def words(self, *words: str) -> list[str]:
        """Return the command line of an ssh with this configuration."""
        return ["ssh", "-F", str(self.path), *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ssh with these words to its end, without prompts."""
        return subprocess.run(
            self.words(*words), env=self.env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip


@dataclass
class Master:
    """A real master in the foreground."""

    path: Path
    process: subprocess.Popen[bytes]
    errors: Path

    def stderr(self) -> str:
        """Return the master's stderr so far."""
        return self.errors.read_text()


StartMaster = Callable[..., Master]


def need_tools() -> None:
    """Skip if OpenSSH is not installed; fail on a CI machine."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"missing: {missing}")
    if missing:
        pytest.skip(f"missing: {missing}")
    if os.getuid() == 0:
        # an sshd of root does not start without this directory
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


@pytest.fixture(scope="session")
def ssh_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Make a host key, and a user key that may log in."""
    need_tools()
    folder = tmp_path_factory.mktemp("keys")
    keys = Keys(folder / "host", folder / "user", folder / "authorized_keys")
    for path in (keys.host, keys.user):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
        subprocess.run(words, check=True, timeout=DEADLINE_S)
    keys.authorized.write_text(keys.user.with_suffix(".pub").read_text())
    keys.authorized.chmod(0o644)
    return keys


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Make a directory with a name short enough for a control path (90 bytes on Linux)."""
    folder = Path(tempfile.mkdtemp(prefix="ta-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def sshd(ssh_keys: Keys, short_folder: Path) -> Iterator[Sshd]:
    """Start a real sshd."""
    server = Sshd(short_folder, ssh_keys)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def ssh_config(sshd: Sshd, short_folder: Path) -> SshConfig:
    """Write a client configuration in which the host `box` is the sshd."""
    known = short_folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.keys.host_public}\n")
    control_path = short_folder / "m"
    path = short_folder / "config"
    path.write_text(
        f"Host box\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n"
        f" IdentityFile {sshd.keys.user}\n IdentitiesOnly yes\n StrictHostKeyChecking yes\n"
        f" UserKnownHostsFile {known}\n GlobalKnownHostsFile /dev/null\n BatchMode yes\n"
        f" ControlPath {control_path}\n"
    )
    env = {name: value for name, value in os.environ.items() if name not in {"SSH_AUTH_SOCK", "DISPLAY"}}
    return SshConfig(path, short_folder, control_path, env)


@pytest.fixture
def start_master(ssh_config: SshConfig) -> Iterator[StartMaster]:
    """Yield a function that starts masters with ssh's options and the keywords `host` and `path`."""
    started: list[Master] = []

    def start(*options: str, host: str = "box", path: Path | None = None) -> Master:
        path = path or ssh_config.control_path
        errors = ssh_config.folder / f"{path.name}.err"
        words = ssh_config.words(
            *options, "-M", "-N", "-S", str(path), "-o", "ControlPersist=no",
            "-o", "ForkAfterAuthentication=no", "-o", "ClearAllForwardings=yes", host,
        )  # fmt: skip
        with errors.open("wb") as stderr:
            process = spawn(words, stderr, ssh_config.env)
        master = Master(path, process, errors)
        started.append(master)
        poll(lambda: path.exists() or process.poll() is not None, "the master listens")
        assert process.poll() is None, master.stderr()
        return master

    yield start
    for master in started:
        end(master.process)
