"""The count of sessions and connections that a master carries, from the kernel."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

from tests.ssh.conftest import poll
from trayagent.ssh.os.carried import Carried, carried_by

if TYPE_CHECKING:
    from tests.ssh.conftest import SshConfig, StartMaster


def test_sessions_count_once_whatever_their_input_is(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """Each client counts as one session, also a client like rsync, whose input and output are sockets."""
    pid = start_master().process.pid
    assert carried_by(pid) == Carried()
    near, far = socket.socketpair()
    words = ssh_config.words("box", "echo up; exec cat")
    with near, far:
        first = subprocess.Popen(words, env=ssh_config.env, stdin=far.fileno(), stdout=far.fileno())
        second = subprocess.Popen(words, env=ssh_config.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        near.settimeout(20)
        assert near.recv(3) == b"up\n"
        poll(lambda: carried_by(pid) == Carried(sessions=2), "two sessions")
        for one in (first, second):
            one.kill()
            one.communicate()
    poll(lambda: carried_by(pid) == Carried(), "nothing is carried")


def test_connections_through_forwards_count(ssh_config: SshConfig, start_master: StartMaster) -> None:
    """Connections through a TCP port, a Unix socket or the server's port count. Listeners do not."""
    pid = start_master().process.pid
    with socket.create_server(("127.0.0.1", 0)) as target, socket.create_server(("127.0.0.1", 0)) as free:
        port, there = free.getsockname()[1], target.getsockname()[1]
        free.close()
        path = ssh_config.folder / "fwd"
        for words in (("-L", f"{port}:127.0.0.1:{there}"), ("-L", f"{path}:127.0.0.1:{there}")):
            assert ssh_config.run("-O", "forward", *words, "box").returncode == 0
        opened = ssh_config.run("-O", "forward", "-R", f"0:127.0.0.1:{there}", "box")
        assert carried_by(pid) == Carried()
        with (
            socket.create_connection(("127.0.0.1", port)),
            target.accept()[0],
            socket.socket(socket.AF_UNIX) as by_path,
        ):
            by_path.connect(str(path))
            remote = ("127.0.0.1", int(opened.stdout))
            with target.accept()[0], socket.create_connection(remote), target.accept()[0]:
                poll(lambda: carried_by(pid) == Carried(connections=3), "three connections")
        poll(lambda: carried_by(pid) == Carried(), "nothing is carried")


def test_a_connection_to_the_ssh_agent_counts(ssh_config: SshConfig, start_master: StartMaster) -> None:
    """A connection to the forwarded ssh-agent counts as a connection, in addition to its session."""
    path = ssh_config.folder / "agent"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        agent.listen()
        ssh_config.add(f"Host box\n IdentityAgent none\n ForwardAgent {path}\n")
        pid = start_master().process.pid
        connect = 'import os, socket; s = socket.socket(1); s.connect(os.environ["SSH_AUTH_SOCK"]); input()'
        words = ssh_config.words("box", f"python3 -c '{connect}'")
        with subprocess.Popen(words, env=ssh_config.env, stdin=subprocess.PIPE) as child:
            agent.settimeout(20)
            with agent.accept()[0]:
                poll(lambda: carried_by(pid) == Carried(1, 1), "a session and a connection")
            child.kill()
