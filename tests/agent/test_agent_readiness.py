from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from trayagent.agent.systemd_notify import Readiness


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_manager_hears_that_we_are_ready_and_that_we_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """On a socket file as on an abstract one; and the programs that we start do not inherit the address."""
    address = str(tmp_path / "notify") if kind == "path" else f"@trayagent-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address if kind == "path" else "\0" + address[1:])
        manager.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        readiness = Readiness()
        readiness.ready()
        readiness.stopping()
        assert [manager.recv(64), manager.recv(64)] == [b"READY=1", b"STOPPING=1"]
    assert "NOTIFY_SOCKET" not in os.environ
    readiness.stopping()  # nobody listens any more, and nothing comes of it


def test_without_a_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by hand there is nobody to tell."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Readiness().ready()
