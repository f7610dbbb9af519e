"""The connection of another process can be shut down."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trayagent.ssh.os.copied_connection import shut_down
from trayagent.ssh.os.types import Flow

ENDS_S = 20.0
READS = "import socket; s = socket.socket(fileno=0); print(s.recv(1), flush=True)"


FILTERED = "Seccomp:\t2" in Path("/proc/self/status").read_text()


@pytest.mark.skipif(FILTERED, reason="a container that filters system calls refuses pidfd_getfd")
def test_a_process_and_its_server_see_the_end_of_a_connection_that_was_shut_down() -> None:
    """Both ends read the end of the connection. Another socket of the process, and a wrong inode, stay untouched."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mine = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        server.settimeout(ENDS_S)
        child = subprocess.Popen([sys.executable, "-c", READS], stdin=mine.fileno(), stdout=subprocess.PIPE)
        try:
            inode = os.fstat(mine.fileno()).st_ino
            mine.close()
            flow = Flow("127.0.0.1", 1, "127.0.0.1", 2, inode, child.pid, "direct")
            assert not shut_down(Flow("127.0.0.1", 1, "127.0.0.1", 2, inode + 1, child.pid, "direct"))
            assert shut_down(flow)
            out, _ = child.communicate(timeout=ENDS_S)
            assert out == b"b''\n"
            assert server.recv(1) == b""
        finally:
            child.kill()
            child.communicate()
            server.close()
