"""Other participants in the laboratory: containers of the laptop's user, other users, and masters that misbehave."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from trayagent.errors import TrayagentError
from trayagent.sandbox import Lab

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(
    ("network", "mounts", "differ"),
    [("office", True, [1, 1]), ("office", False, [1, 0]), (None, True, [0, 1])],
)
def test_a_container_shares_the_home_and_nothing_else(
    lab: Lab, network: str | None, mounts: bool, differ: list[int]
) -> None:
    """A container has another network or mount namespace, or both, but the same user and files."""
    inside = lab.container(network=network, mounts=mounts)
    words = ["readlink", "/proc/self/ns/net", "/proc/self/ns/mnt"]
    here, there = (node.check(words).split() for node in (lab.laptop, inside))
    assert [int(a != b) for a, b in zip(here, there, strict=True)] == differ
    assert inside.check(["id", "-u"]) == f"{os.getuid()}\n"
    assert inside.check(["sh", "-c", "ls ~/.ssh"]) == lab.laptop.check(["sh", "-c", "ls ~/.ssh"])
    if network is not None:
        lab.sshd()
        lab.ssh_config({"web": {"HostName": "203.0.113.10"}})
        assert inside.check(["ssh", "web", "echo there"]) == "there\n"


def test_another_user_is_another_user(lab: Lab) -> None:
    """Another user has no access to the laptop user's files. Only root can create another user."""
    if os.getuid() != 0:
        with pytest.raises(TrayagentError, match="only root"):
            lab.other_user()
        return
    mallory = lab.other_user()
    assert mallory.check(["id", "-u"]) == "61234\n"
    assert mallory.run(["cat", str(lab.files.key)]).returncode != 0


@pytest.mark.parametrize("how", ["claims", "silent", "endless", "huge", "agrees"])
def test_a_hostile_master_answers_as_ordered(lab: Lab, how: str) -> None:
    """The hostile master lies about its pid, is silent, floods, announces 4 GB, or agrees, as ordered."""
    path = lab.files.ssh / "hostile"
    program = lab.hostile_mux(str(path), how, pid=7)  # type: ignore[arg-type]
    assert program.first == {"listens": str(path)}
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.settimeout(0.3 if how == "silent" else 10)
        client.sendall(struct.pack(">III", 8, 0x10000004, 1))
        said = b""
        while len(said) < {"silent": 1, "huge": 4}.get(how, 28):
            try:
                said += client.recv(65536)
            except TimeoutError:
                break
        hello = struct.pack(">III", 8, 1, 4)
        expected = {
            "silent": b"",
            "huge": b"\xff" * 4,
            "endless": hello + struct.pack(">III", 8, 0x80000001, 1),
        }.get(how, hello + struct.pack(">IIII", 12, 0x80000005, 1, 7))
        assert said.startswith(expected)
        assert how != "endless" or len(said) >= 28
    program.end()
    assert Path(path).is_socket()  # a socket file as a killed program leaves it
