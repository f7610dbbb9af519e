"""The agent removes only its own dead sockets on this machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from trayagent.agent.forwards.leftover_local_sockets import LocalSockets
from trayagent.agent.state.records import Records
from trayagent.core.facts.forward_spec import parse


@pytest.fixture
def listener(tmp_path: Path) -> socket.socket:
    """Listen on a socket as a forward of this process does."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "db.sock"))
    sock.listen()
    return sock


@pytest.fixture
def sockets(tmp_path: Path, listener: socket.socket) -> LocalSockets:
    """Record the socket."""
    made = LocalSockets(Records(tmp_path / "agent.json"))
    made.made(os.getpid(), [parse("local", f"{listener.getsockname()}:/run/db.sock")])
    return made


def test_a_dead_socket_is_removed_also_by_the_next_agent(
    tmp_path: Path, listener: socket.socket, sockets: LocalSockets
) -> None:
    """A dead socket is removed, also by the next agent, because the record outlives the agent."""
    path = listener.getsockname()
    sockets.remove_dead(path)
    assert Path(path).is_socket()  # a process listens
    listener.close()
    LocalSockets(Records(tmp_path / "agent.json")).remove_dead(path)
    assert not os.path.lexists(path)


def test_a_later_file_at_the_same_path_is_left_alone(listener: socket.socket, sockets: LocalSockets) -> None:
    """If another program later left a dead socket at the same path, that socket stays."""
    path = listener.getsockname()
    listener.close()
    Path(path).rename(f"{path}.old")  # keep the inode in use, so that the new file gets another one
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
    sockets.remove_dead(path)
    assert Path(path).is_socket()


def test_a_socket_of_another_process_is_not_recorded(tmp_path: Path, listener: socket.socket) -> None:
    """A socket of another process is not recorded, although ssh may report the forward as open."""
    path = listener.getsockname()
    sockets = LocalSockets(Records(tmp_path / "agent.json"))
    sockets.made(1, [parse("local", f"{path}:/run/db.sock")])
    listener.close()
    sockets.remove_dead(path)
    assert Path(path).is_socket()
