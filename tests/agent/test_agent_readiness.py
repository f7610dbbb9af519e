from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from trayagent.agent.systemd_notify import Readiness


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_manager_is_notified_of_ready_and_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The agent notifies the service manager on a socket file or an abstract socket.

    Child processes do not get its address.
    """
    address = str(tmp_path / "notify") if kind == "path" else f"@trayagent-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address if kind == "path" else "\0" + address[1:])
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        readiness = Readiness()
        readiness.ready()
        readiness.stopping()
        assert [manager.recv(64), manager.recv(64)] == [b"READY=1", b"STOPPING=1"]
    assert "NOTIFY_SOCKET" not in os.environ
    readiness.stopping()  # the manager no longer listens, which must cause no error


def test_without_a_manager_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a service manager, the agent sends no notification and does not fail."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Readiness().ready()
