"""Real ssh servers in the laboratory."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from trayagent.errors import TrayagentError
from trayagent.sandbox.lab_files import Files, keygen
from trayagent.sandbox.lab_tools import SYSTEM_FOLDERS, tool
from trayagent.sandbox.namespaces import script
from trayagent.sandbox.node import Node

START_DEADLINE_S = 30.0
END_DEADLINE_S = 30.0
# sshd ends its sessions within milliseconds. Send the signal again after this time, because sshd can lose it.
_SIGNAL_AGAIN_S = 0.2


class Sshd:
    """One sshd at one address, with its own host key.

    `config` are sshd_config lines that come before the laboratory's own, so they take precedence
    (`ClientAliveInterval 3`, `AllowTcpForwarding no`, `ForceCommand …`, `MaxStartups 3`). The laboratory's
    user logs in with the laboratory's key. If that user is not root, the server runs as that user and accepts
    no other user. With `mptcp` its connections use Multipath TCP. `program` is the path of another sshd to
    run.
    """

    def __init__(
        self,
        node: Node,
        files: Files,
        address: str,
        port: int,
        config: Sequence[str],
        *,
        mptcp: bool = False,
        program: str | None = None,
    ) -> None:
        self.node = node
        self.address = address
        self.port = port
        self._mptcp = mptcp
        self._program = program or tool("sshd")
        self.folder = files.far / f"{address}_{port}_{node.name}"
        self.folder.mkdir(mode=0o700)
        self.log = self.folder / "log"
        self._config = self.folder / "sshd_config"
        self._files = files
        self._child: subprocess.Popen[str] | None = None
        self.new_host_key()
        self.configure(config)

    @property
    def pid(self) -> int | None:
        """The listener's process id, or None while it is stopped."""
        return self._child.pid if self._child and self._child.poll() is None else None

    @property
    def host_key(self) -> str:
        """The type and the public part of the host key."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def known_as(self) -> str:
        """The server's name in known_hosts."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"

    def new_host_key(self) -> None:
        """Give the server another host key from its next start on. known_hosts stays unchanged."""
        for name in ("host_key", "host_key.pub"):
            (self.folder / name).unlink(missing_ok=True)
        keygen(self.folder / "host_key")

    def configure(self, config: Sequence[str]) -> None:
        """Write another configuration, which applies from the next start on."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        lines = [
            *config,
            f"ListenAddress {host}:{self.port}",
            f"HostKey {self.folder / 'host_key'}",
            f"AuthorizedKeysFile {self._files.authorized_keys}",
            "PidFile none",
            # StrictModes would refuse the keys, because the folders above are not the user's
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "PrintMotd no",
            "PrintLastLog no",
            "Subsystem sftp internal-sftp",
            *_helper_paths(self._program),
            *_login_path(),
        ]
        self._config.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start the server and return when it listens.

        Raises TrayagentError (sandbox-broken), which contains the log.
        """
        if self.pid:
            return
        begin = self.log.stat().st_size if self.log.exists() else 0
        # Use the full path, because sshd starts itself again for each connection.
        words = [self._program, "-i" if self._mptcp else "-D", "-e", "-f", str(self._config)]
        if self._mptcp:
            words = script("mptcp", "listen", self.address, str(self.port), *words)
        with self.log.open("a") as log:
            self._child = self.node.popen(words, stderr=log)
        limit = time.monotonic() + START_DEADLINE_S
        while f"Server listening on {self.address} port {self.port}" not in self.said(begin):
            if self._child.poll() is not None or time.monotonic() > limit:
                self.stop()
                raise TrayagentError(f"sshd did not start: {self.said(begin).strip()}", code="sandbox-broken")
            time.sleep(0.005)

    def stop(self, *, sessions: bool = False) -> None:
        """Stop listening. With `sessions`, also end the server's connections, as a reboot does."""
        if not self._child:
            return
        carried = self.sessions() if sessions else []
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child.pid, signal.SIGKILL)
        self._child.wait()
        for pid in carried:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._child = None

    def end_sessions(self) -> None:
        """End the server's connections with SIGTERM, so that sshd removes their files in /tmp. Keep listening.

        Repeat the signal until all have ended. A signal that arrives just before sshd starts to wait is not
        handled, because sshd checks for signals only after the wait (OpenSSH 9.2, server_loop2). Raises
        TrayagentError (sandbox-broken).
        """
        limit = time.monotonic() + END_DEADLINE_S
        while left := self.sessions():
            if time.monotonic() > limit:
                raise TrayagentError(
                    f"sessions did not end: {left}", code="sandbox-broken", hint=self.said()[-2000:]
                )
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            again = time.monotonic() + _SIGNAL_AGAIN_S
            while self.sessions() and time.monotonic() < again:
                time.sleep(0.005)

    def restart(self, config: Sequence[str] | None = None) -> None:
        """Stop with all sessions and start again, with another configuration if one is given."""
        self.stop(sessions=True)
        if config is not None:
            self.configure(config)
        self.start()

    def sessions(self) -> list[int]:
        """Return the listener's descendants, each parent before its children."""
        found: list[int] = []
        todo = [self.pid] if self.pid else []
        while todo:
            below = _children(todo.pop())
            found += below
            todo += below
        return found

    def logins(self) -> int:
        """Return how many logins were accepted since the first start."""
        return len(re.findall(r"^Accepted \S+ for ", self.said(), re.MULTILINE))

    def said(self, begin: int = 0) -> str:
        """Return the server's log from a byte offset on."""
        with self.log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")


def _helper_paths(program: str) -> list[str]:
    """Return the options that an unpacked sshd needs to find its helpers (OpenSSH 9.8 and later)."""
    folder = Path(program).parent.parent
    beside = next((f for f in (folder / "usr/lib/openssh", folder / "lib/openssh") if f.is_dir()), folder)
    helpers = {"SshdSessionPath": beside / "sshd-session", "SshdAuthPath": beside / "sshd-auth"}
    return [f"{keyword} {path}" for keyword, path in helpers.items() if path.exists()]


def _login_path() -> list[str]:
    """Return the option that lets a login find tmux and other tools that are only unpacked beside sshd."""
    folder = str(Path(tool("sshd")).parent)
    return [] if folder in SYSTEM_FOLDERS else [f"SetEnv PATH=/usr/local/bin:/usr/bin:/bin:{folder}"]


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    return []
