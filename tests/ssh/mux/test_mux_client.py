"""Each operation of the client, against a real master of the installed OpenSSH."""

from __future__ import annotations

import asyncio
import errno
import grp
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.errors import Refused
from trayagent.ssh.mux.forward import UNIX_PATH, MuxForward

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd, StartMaster

T = TypeVar("T")
DEADLINE_S = 20.0


def asking(path: Path, talk: Callable[[MuxClient], Awaitable[T]]) -> T:
    """Run one conversation with the master at `path`."""

    async def run() -> T:
        async with MuxClient.connected(str(path), timeout_s=DEADLINE_S) as client:
            return await talk(client)

    return asyncio.run(run())


def banner(port: int) -> bytes:
    """Return the first bytes from a port of 127.0.0.1, or b"" if the connection ends without any."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as sock:
        sock.settimeout(DEADLINE_S)
        return sock.recv(4)


def refuses(port: int) -> bool:
    """Report whether no process listens on a port of 127.0.0.1."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def unused_port() -> int:
    """Return a port of 127.0.0.1 that is free at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def read_all(fd: int) -> bytes:
    """Read a pipe to its end."""
    with os.fdopen(fd, "rb") as pipe:
        return pipe.read()


def test_alive_returns_the_pid_of_a_master_in_the_foreground(start_master: StartMaster) -> None:
    """A master in the foreground answers ALIVE_CHECK with the pid of the started process."""
    master = start_master()
    assert asking(master.path, lambda c: c.alive()) == master.process.pid


def test_one_connection_carries_many_requests(start_master: StartMaster) -> None:
    """One connection can carry many requests, one after the other."""

    async def talk(client: MuxClient) -> set[int]:
        return {await client.alive() for _ in range(50)}

    master = start_master()
    assert asking(master.path, talk) == {master.process.pid}


def test_terminate_ends_the_master_and_is_a_success(start_master: StartMaster) -> None:
    """`terminate` succeeds even if the master closes the connection without an answer, and the process ends."""
    master = start_master()
    asking(master.path, lambda c: c.terminate())
    master.process.wait(DEADLINE_S)
    assert not master.path.exists()


def test_stop_listening_ends_a_master_that_carries_nothing(start_master: StartMaster) -> None:
    """A master without sessions exits after `stop_listening`."""
    master = start_master()
    asking(master.path, lambda c: c.stop_listening())
    assert master.process.wait(DEADLINE_S) == 255


def test_a_local_forward_carries_until_it_is_closed(sshd: Sshd, start_master: StartMaster) -> None:
    """An open forward carries the server's banner; after it is closed, the port refuses connections."""
    port = unused_port()
    forward = MuxForward("local", "127.0.0.1", port, "127.0.0.1", sshd.port)
    master = start_master()
    assert asking(master.path, lambda c: c.open_forward(forward)) is None
    assert banner(port) == b"SSH-"
    asking(master.path, lambda c: c.close_forward(forward))
    assert refuses(port)


def test_opening_an_open_forward_succeeds(start_master: StartMaster) -> None:
    """Opening the same forward twice succeeds."""
    forward = MuxForward("local", "127.0.0.1", unused_port(), "127.0.0.1", 1)

    async def talk(client: MuxClient) -> None:
        await client.open_forward(forward)
        await client.open_forward(forward)

    asking(start_master().path, talk)


def test_a_local_forward_on_a_taken_port_is_refused(sshd: Sshd, start_master: StartMaster) -> None:
    """A forward on a taken port raises Refused with the master's text."""
    forward = MuxForward("local", "127.0.0.1", sshd.port, "127.0.0.1", 1)
    with pytest.raises(Refused) as refusal:
        asking(start_master().path, lambda c: c.open_forward(forward))
    assert refusal.value.text == "Port forwarding failed"


def test_closing_a_forward_that_is_not_open_is_refused(start_master: StartMaster) -> None:
    """Closing a forward that was not opened raises Refused."""
    forward = MuxForward("local", "127.0.0.1", unused_port(), "127.0.0.1", 1)
    with pytest.raises(Refused, match="port not forwarded"):
        asking(start_master().path, lambda c: c.close_forward(forward))


def test_a_unix_forward_carries(sshd: Sshd, start_master: StartMaster, short_folder: Path) -> None:
    """A forward whose listen host is a path, with the port UNIX_PATH, listens on a Unix socket."""
    path = short_folder / "listen"
    forward = MuxForward("local", str(path), UNIX_PATH, "127.0.0.1", sshd.port)
    asking(start_master().path, lambda c: c.open_forward(forward))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(str(path))
        assert sock.recv(4) == b"SSH-"


def test_a_dynamic_forward_speaks_socks(sshd: Sshd, start_master: StartMaster) -> None:
    """A dynamic forward accepts SOCKS5 without authentication."""
    port = unused_port()
    asking(start_master().path, lambda c: c.open_forward(MuxForward("dynamic", "", port)))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as sock,
        sock.makefile("rwb") as stream,
    ):
        stream.write(b"\5\1\0")
        stream.flush()
        assert stream.read(2) == b"\5\0"
        stream.write(b"\5\1\0\1" + socket.inet_aton("127.0.0.1") + sshd.port.to_bytes(2, "big"))
        stream.flush()
        assert stream.read(10)[1] == 0
        assert stream.read(4) == b"SSH-"


def test_a_remote_forward_returns_the_port_that_the_server_chose(
    sshd: Sshd, start_master: StartMaster
) -> None:
    """For port 0 `open_forward` returns the port that the server chose, and that port carries data."""
    forward = MuxForward("remote", "", 0, "127.0.0.1", sshd.port)
    port = asking(start_master().path, lambda c: c.open_forward(forward))
    assert port
    assert banner(port) == b"SSH-"


def test_a_remote_socks_forward_opens(start_master: StartMaster) -> None:
    """A remote forward without a target opens a SOCKS port on the server."""
    assert asking(start_master().path, lambda c: c.open_forward(MuxForward("remote", "", 0)))


def test_a_remote_forward_that_the_server_forbids_is_refused(sshd: Sshd, start_master: StartMaster) -> None:
    """A remote forward that the server forbids raises Refused, which names the port."""
    sshd.restart("AllowTcpForwarding no")
    port = unused_port()
    forward = MuxForward("remote", "", port, "127.0.0.1", 1)
    with pytest.raises(Refused, match=f"remote port forwarding failed for listen port {port}"):
        asking(start_master().path, lambda c: c.open_forward(forward))


def test_a_refused_stdio_forward_is_an_answer_from_the_server(sshd: Sshd, start_master: StartMaster) -> None:
    """A stdio forward to a closed port raises Refused; the server logged the attempt, so this proves life."""
    near, far = socket.socketpair()
    with near, far, pytest.raises(Refused, match="Session open refused by peer"):
        asking(start_master().path, lambda c: c.stdio_forward("127.0.0.1", 1, far.fileno(), far.fileno()))
    assert "connect_to 127.0.0.1 port 1: failed" in sshd.log()


def test_an_open_stdio_forward_carries(sshd: Sshd, start_master: StartMaster) -> None:
    """The target's data comes out of the descriptor that was passed."""

    async def talk(client: MuxClient) -> bytes:
        near, far = socket.socketpair()
        near.setblocking(False)
        with near, far:
            await client.stdio_forward("127.0.0.1", sshd.port, far.fileno(), far.fileno())
            return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(near, 4), DEADLINE_S)

    assert asking(start_master().path, talk) == b"SSH-"


def test_a_session_runs_its_command_and_returns_the_status(start_master: StartMaster) -> None:
    """A session uses the passed descriptors as stdin, stdout and stderr, and returns the exit status."""
    in_r, in_w = os.pipe()
    out_r, out_w = os.pipe()
    err_r, err_w = os.pipe()

    async def talk(client: MuxClient) -> int | None:
        await client.new_session("cat; echo err >&2; exit 7", fds=(in_r, out_w, err_w))
        for fd in (in_r, out_w, err_w):
            os.close(fd)
        os.write(in_w, b"hello\n")
        os.close(in_w)
        return await client.wait_exit(timeout_s=DEADLINE_S)

    assert asking(start_master().path, talk) == 7
    assert read_all(out_r) == b"hello\n"
    assert read_all(err_r) == b"err\n"


def test_a_session_gets_the_variables_that_the_master_permits(start_master: StartMaster) -> None:
    """The master's SendEnv filters the variables of a session."""
    null = os.open(os.devnull, os.O_RDWR)
    out_r, out_w = os.pipe()

    async def talk(client: MuxClient) -> int | None:
        await client.new_session(
            "echo $TRAY_A-$OTHER", fds=(null, out_w, null), env=("TRAY_A=yes", "OTHER=no")
        )
        os.close(out_w)
        return await client.wait_exit(timeout_s=DEADLINE_S)

    assert asking(start_master("-o", "SendEnv=TRAY_*").path, talk) == 0
    assert read_all(out_r) == b"yes-\n"
    os.close(null)


def run_session(
    path: Path, command: str, *, tty: bool = False, subsystem: bool = False, agent: bool = False
) -> bytes:
    """Run a command through the master and return its output (with `tty`, from a new terminal)."""
    null = os.open(os.devnull, os.O_RDWR)
    out_r, out_w = os.openpty() if tty else os.pipe()

    async def talk(client: MuxClient) -> int | None:
        fds = (out_w, out_w, out_w) if tty else (null, out_w, null)
        await client.new_session(
            command, fds=fds, tty=tty, subsystem=subsystem, want_agent=agent, term="vt220"
        )
        return await client.wait_exit(timeout_s=DEADLINE_S)

    assert asking(path, talk) == 0
    os.close(null)
    # The status may come before the last output.
    if not tty:
        os.close(out_w)
        return read_all(out_r).strip()
    said = os.read(out_r, 4096)
    os.close(out_r)
    os.close(out_w)
    return said.strip()


def test_a_session_may_have_a_terminal(start_master: StartMaster) -> None:
    """With `tty` the command runs on a terminal of the given type; otherwise it has no terminal."""
    far, near = os.openpty()
    owned = os.fstat(near).st_gid == grp.getgrnam("tty").gr_gid
    os.close(far)
    os.close(near)
    if os.getuid() != 0 and not owned:
        pytest.skip("the group tty is not mapped into this user namespace: sshd cannot own a terminal")
    path = start_master().path
    command = "test -t 0 && echo $TERM || echo none"
    assert run_session(path, command, tty=True) == b"vt220"
    assert run_session(path, command) == b"none"


def test_a_session_may_be_a_subsystem(sshd: Sshd, start_master: StartMaster) -> None:
    """With `subsystem` the command is the name of a subsystem of the server."""
    sshd.restart("Subsystem greet echo hello")
    assert run_session(start_master().path, "greet", subsystem=True) == b"hello"


def test_a_session_may_request_the_agent(start_master: StartMaster, short_folder: Path) -> None:
    """A master with ForwardAgent gives the ssh-agent to a session that requests it, and to all later ones."""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(short_folder / "agent"))
        agent.listen()
        path = start_master("-o", f"ForwardAgent={short_folder / 'agent'}").path
        assert run_session(path, "echo ${SSH_AUTH_SOCK:-none}") == b"none"
        assert run_session(path, "echo ${SSH_AUTH_SOCK:-none}", agent=True).startswith(b"/")


def test_a_session_cut_by_the_masters_death_has_no_status(start_master: StartMaster) -> None:
    """If the master is killed, the status of its session is None."""
    master = start_master()
    null = os.open(os.devnull, os.O_RDWR)
    hold_r, hold_w = os.pipe()

    async def talk(client: MuxClient) -> int | None:
        await client.new_session("cat", fds=(hold_r, null, null))
        waiting = asyncio.create_task(client.wait_exit(timeout_s=DEADLINE_S))
        master.process.kill()
        return await waiting

    assert asking(master.path, talk) is None
    for fd in (null, hold_r, hold_w):
        os.close(fd)


def test_many_forwards_open_at_once_on_separate_connections(start_master: StartMaster) -> None:
    """Twenty remote forwards on twenty control connections all open."""
    master = start_master()

    async def one(target: int) -> int | None:
        async with MuxClient.connected(str(master.path), timeout_s=DEADLINE_S) as client:
            # A master treats two port-0 forwards with the same target as one forward, so each has its own target.
            return await client.open_forward(MuxForward("remote", "", 0, "127.0.0.1", target))

    async def run() -> list[int | None]:
        return await asyncio.gather(*(one(target) for target in range(1, 21)))

    ports = asyncio.run(run())
    assert all(ports)
    assert len(set(ports)) == 20


def test_descriptors_are_sent_again_if_the_queue_is_full(
    start_master: StartMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor is sent again after EMSGSIZE, which macOS returns until the master has read the previous one."""
    refused: list[int] = []

    class Full(socket.socket):
        """Refuses each descriptor twice."""

        def sendmsg(self, data: Any, rights: Any = (), *more: Any) -> int:
            if rights and len(refused) % 3 < 2:
                refused.append(errno.EMSGSIZE)
                raise OSError(errno.EMSGSIZE, "Message too long")
            if rights:
                refused.append(0)
            return super().sendmsg(data, rights, *more)

    master = start_master()
    monkeypatch.setattr(socket, "socket", Full)

    null = os.open(os.devnull, os.O_RDWR)

    async def talk(client: MuxClient) -> int | None:
        await client.new_session("exit 7", fds=(null, null, null), timeout_s=DEADLINE_S)
        return await client.wait_exit(timeout_s=DEADLINE_S)

    try:
        assert asking(master.path, talk) == 7
    finally:
        os.close(null)
    assert refused == [errno.EMSGSIZE, errno.EMSGSIZE, 0] * 3
