"""Masters that are missing, silent or stopped, and peers that are no masters. Minimal fakes misbehave."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trayagent.ssh.mux import answers
from trayagent.ssh.mux.client import MuxClient
from trayagent.ssh.mux.errors import Gone, LocalProtocolError, RemoteProtocolError, Timeout
from trayagent.ssh.mux.messages import Hello, encode

if TYPE_CHECKING:
    from tests.ssh.conftest import StartMaster

SOON_S = 0.2
DEADLINE_S = 20.0


@contextmanager
def listening(path: Path, backlog: int = 1) -> Iterator[socket.socket]:
    """Listen on a path, as a master would."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(backlog)
        yield listener


async def says(path: Path, *said: bytes, then_close: bool = False) -> MuxClient:
    """Connect to a fake master that sends these bytes at once and reads nothing."""
    with listening(path) as listener:
        connecting = asyncio.create_task(MuxClient.connect(str(path), timeout_s=DEADLINE_S))
        listener.setblocking(False)
        peer, _ = await asyncio.get_running_loop().sock_accept(listener)
        with peer:
            for data in said:
                peer.send(data)
            if not then_close:
                return await connecting
        return await connecting


def test_a_missing_socket_and_one_without_a_listener_differ(short_folder: Path) -> None:
    """A missing file and a file without a listener give different reasons, because only the latter may be removed."""
    deaf = short_folder / "deaf"
    with listening(deaf):
        pass
    for path, reason in (
        (short_folder / "none", "absent"),
        (deaf, "deaf"),
        (short_folder / ("x" * 120), "unreachable"),
    ):
        with pytest.raises(Gone) as gone:
            asyncio.run(MuxClient.connect(str(path)))
        assert gone.value.reason == reason


def test_a_stopped_master_times_out(start_master: StartMaster) -> None:
    """Connecting to a stopped master raises Timeout: the kernel accepts, but the master never greets."""
    master = start_master()
    os.kill(master.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Timeout):
            asyncio.run(MuxClient.connect(str(master.path), timeout_s=SOON_S))
    finally:
        os.kill(master.process.pid, signal.SIGCONT)


def test_a_full_accept_queue_times_out(short_folder: Path) -> None:
    """A full accept queue, for which connect() returns EAGAIN, does not count as connected and raises Timeout."""
    path = short_folder / "full"
    with listening(path, backlog=0), socket.socket(socket.AF_UNIX) as first:
        first.connect(str(path))
        with pytest.raises(Timeout):
            asyncio.run(MuxClient.connect(str(path), timeout_s=SOON_S))


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\0", encode(answers.Ok(1))])
def test_a_peer_that_is_no_master_is_detected(short_folder: Path, said: bytes) -> None:
    """Bytes that are not the protocol raise RemoteProtocolError."""
    with pytest.raises(RemoteProtocolError):
        asyncio.run(says(short_folder / "s", said))


def test_an_end_instead_of_a_greeting_is_gone(short_folder: Path) -> None:
    """If the master closes before it greets, the client raises Gone with the reason "ended"."""
    with pytest.raises(Gone) as gone:
        asyncio.run(says(short_folder / "s", then_close=True))
    assert gone.value.reason == "ended"


def test_the_end_is_a_success_for_terminate_but_not_for_alive(short_folder: Path) -> None:
    """The end of the connection means success for TERMINATE, but raises Gone for ALIVE_CHECK."""

    async def run(name: str) -> None:
        client = await says(short_folder / name, encode(Hello()), then_close=True)
        try:
            await (client.terminate() if name == "t" else client.alive())
        finally:
            client.close()

    asyncio.run(run("t"))
    with pytest.raises(Gone):
        asyncio.run(run("a"))


def test_an_open_request_forbids_the_next(start_master: StartMaster) -> None:
    """After a Timeout the request is still open, and a second request raises LocalProtocolError."""
    master = start_master()

    async def run() -> None:
        client = await MuxClient.connect(str(master.path))
        os.kill(master.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(Timeout):
                await client.alive(timeout_s=SOON_S)
            with pytest.raises(LocalProtocolError):
                await client.alive()
        finally:
            os.kill(master.process.pid, signal.SIGCONT)
            client.close()

    asyncio.run(run())


def test_a_closed_descriptor_closes_the_connection(start_master: StartMaster) -> None:
    """A request with a closed descriptor closes the connection at once, because it would block the master."""
    master = start_master()

    async def run() -> int:
        client = await MuxClient.connect(str(master.path))
        closed, other = os.pipe()
        os.close(closed)
        os.close(other)
        with pytest.raises(LocalProtocolError):
            await client.new_session("true", fds=(closed, closed, closed))
        async with MuxClient.connected(str(master.path), timeout_s=DEADLINE_S) as again:
            return await again.alive(timeout_s=DEADLINE_S)

    assert asyncio.run(run()) == master.process.pid


def test_a_giant_request_waits_for_a_slow_reader(short_folder: Path) -> None:
    """A packet larger than the socket's buffer is written completely once the master reads again."""
    path = short_folder / "slow"
    command = "x" * 250_000

    async def run() -> int:
        loop = asyncio.get_running_loop()
        with listening(path) as listener:
            listener.setblocking(False)
            connecting = asyncio.create_task(MuxClient.connect(str(path)))
            peer, _ = await loop.sock_accept(listener)
            with peer:
                peer.setblocking(False)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.send(encode(Hello()))
                client = await connecting
                client._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
                opening = asyncio.create_task(client.new_session(command, fds=(peer.fileno(),) * 3))
                taken = 0
                while taken < len(command):
                    taken += len(await asyncio.wait_for(loop.sock_recv(peer, 65536), DEADLINE_S))
                peer.send(encode(answers.SessionOpened(1, 5)))
                session = await opening
                client.close()
                return session

    assert asyncio.run(run()) == 5


@pytest.mark.skipif(os.getuid() != 0, reason="only root may act for another user")
def test_a_socket_of_another_user_gets_no_bytes(short_folder: Path) -> None:
    """The client sends nothing to another user's socket, and the error names that user."""
    short_folder.chmod(0o1777)
    path = short_folder / "s"
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen();"
        "print(flush=True); c = s.accept()[0]; print(c.recv(99), flush=True)"
    )
    words = ["python3", "-c", program, str(path)]
    with subprocess.Popen(words, user=65534, group=65534, extra_groups=[], stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(Gone) as gone:
            asyncio.run(MuxClient.connect(str(path), timeout_s=DEADLINE_S))
        assert gone.value.reason == "foreign"
        assert "65534" in str(gone.value)
        assert other.stdout.read() == b"b''\n"
