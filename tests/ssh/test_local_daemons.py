"""A ProxyCommand with a Unix socket may leave the work to a daemon."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from trayagent.ssh.os.local_daemons import leads_to_others
from trayagent.ssh.os.process import descendants, read

CONNECTED = "exec socat - UNIX-CONNECT:daemon"
PAIR = "exec socat - EXEC:cat"


@pytest.mark.parametrize(("command", "leads"), [(CONNECTED, True), (PAIR, False)])
def test_only_a_socket_of_another_process_counts(tmp_path: Path, command: str, leads: bool) -> None:
    """A pair of sockets that a command has for itself or for its child leads to no daemon."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "daemon"))
        listener.listen()
        child = subprocess.Popen(["sh", "-c", command], cwd=tmp_path, stdin=-1, stdout=-1)
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            daemon = listener.accept()[0] if leads else None
            child.stdin.write(b"there\n")
            child.stdin.flush()
            if daemon is not None:
                daemon.send(daemon.recv(6))
            assert child.stdout.readline() == b"there\n"
            found = read(child.pid)
            assert found is not None
            assert leads_to_others([found, *descendants(child.pid)]) == leads
            if daemon is not None:
                daemon.close()
        finally:
            child.kill()
            child.communicate()
