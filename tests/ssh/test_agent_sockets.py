"""The kinds of ssh-agent sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.ssh.test_credentials import auth_sock
from trayagent.ssh.login.ssh_agent_sockets import is_forwarded, kind_of

__all__ = ["auth_sock"]


def test_a_living_ssh_agent_is_usable(auth_sock: str, tmp_path: Path) -> None:
    """A running ssh-agent is usable, directly and through a link."""
    link = tmp_path / "link"
    link.symlink_to(auth_sock)
    assert (kind_of(auth_sock), kind_of(str(link))) == ("usable", "usable")


def test_a_socket_without_an_ssh_agent_is_silent(tmp_path: Path) -> None:
    """A socket is silent without a listener, with a listener that does not answer, and if the file is missing."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        assert kind_of(str(path)) == "silent"
        bound.listen()
        assert kind_of(str(path)) == "silent"
    assert kind_of(str(tmp_path / "gone")) == "silent"
    assert kind_of("a\0b") == "silent"


def test_a_path_that_is_no_socket_is_not_used(tmp_path: Path) -> None:
    """A file, a directory and no path are not used as ssh-agent sockets."""
    (tmp_path / "file").touch()
    assert [kind_of(path) for path in (None, "", str(tmp_path), str(tmp_path / "file"))] == ["not-ours"] * 4


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's socket")
def test_another_users_socket_is_not_used(auth_sock: str) -> None:
    """Another user's socket is not used, even by root, who could connect to it."""
    os.chown(auth_sock, 12345, -1)
    assert kind_of(auth_sock) == "not-ours"


@pytest.mark.parametrize(
    "name",
    [".ssh/agent/s.Xa1.sshd.tY2", ".ssh/agent/s.Xa1.sshd.77.tY2", "dropbear-1f2e/auth-3c4d-22"],
)
def test_the_names_of_forwarded_sockets_are_recognized(tmp_path: Path, name: str) -> None:
    """A socket with a name of OpenSSH 10.1's sshd or of dropbear counts as forwarded, even without a listener."""
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        assert is_forwarded(str(path))


def test_the_name_of_an_ssh_agent_does_not_count_as_forwarded(tmp_path: Path) -> None:
    """The socket of OpenSSH 10.1's own ssh-agent, in the same directory, does not count as forwarded."""
    path = tmp_path / ".ssh" / "agent" / "s.Xa1.agent.tY2"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        bound.listen()
        assert not is_forwarded(str(path))
