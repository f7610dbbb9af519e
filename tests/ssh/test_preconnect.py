"""The connection that is made beside ssh's start, on real sockets, and handed over by the real helper."""

from __future__ import annotations

import asyncio
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.login.failures import classify
from trayagent.ssh.master import preconnect as own_connection
from trayagent.ssh.master.preconnect import STAGGER_S, PreconnectedSocket, words_of

DEADLINE_S = 20.0


@contextmanager
def listening(family: socket.AddressFamily = socket.AF_INET) -> Iterator[socket.socket]:
    """Listen on loopback, where connections stand without anybody accepting them."""
    with socket.socket(family) as one:
        one.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        one.listen(1)
        yield one


def fetched(folder: Path, resolved: Resolved, timeout_s: float = DEADLINE_S) -> socket.socket | str:
    """Run the real helper as ssh does, with one end of a pair as its output; return what it passed, or said."""

    async def ask() -> socket.socket | str:
        at = folder / "connection"
        mine, its = socket.socketpair()
        connection = PreconnectedSocket(resolved, timeout_s)
        async with connection.offered(at):
            helper = await asyncio.create_subprocess_exec(
                *words_of(str(at)), stdin=its.fileno(), stdout=its.fileno(), stderr=subprocess.PIPE
            )
            its.close()
            _, said = await asyncio.wait_for(helper.communicate(), DEADLINE_S)
        connection.close()
        with mine:
            _, rights, _, _ = socket.recv_fds(mine, 1, 1)
        assert not at.exists()
        assert (helper.returncode == 0) == bool(rights)
        return socket.socket(fileno=rights[0]) if rights else said.decode()

    return asyncio.run(ask())


def test_ssh_gets_a_connection_that_delays_nothing(tmp_path: Path) -> None:
    """The helper passes a standing connection with TCP_NODELAY and keep-alive set, in blocking mode."""
    with listening() as server:
        got = fetched(tmp_path, Resolved("web01", "127.0.0.1", port=server.getsockname()[1]))
        assert isinstance(got, socket.socket)
        with got:
            assert got.getpeername() == server.getsockname()
            assert got.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert got.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
            assert got.getblocking()


def test_a_held_connection_is_given_to_nobody_before_its_release(tmp_path: Path) -> None:
    """It is made meanwhile, and handed over at once then: nothing is lost by waiting for something else."""

    async def ask(server: socket.socket) -> None:
        at, loop = tmp_path / "connection", asyncio.get_running_loop()
        connection = PreconnectedSocket(
            Resolved("web01", "127.0.0.1", port=server.getsockname()[1]), DEADLINE_S
        )
        connection.hold()
        async with connection.offered(at):
            with socket.socket(socket.AF_UNIX) as helper:
                helper.connect(str(at))
                accepted, _ = await asyncio.wait_for(loop.sock_accept(server), DEADLINE_S)
                with accepted:
                    for _ in range(200):  # whatever is ready to run has run; it takes no more than ten
                        await asyncio.sleep(0)
                    assert connection.asked
                    helper.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        helper.recv(1)
                    connection.release()
                    await asyncio.wait_for(asyncio.to_thread(select.select, [helper], [], []), DEADLINE_S)
                    _, rights, _, _ = socket.recv_fds(helper, 1, 1)
                    with socket.socket(fileno=rights[0]) as got:
                        assert got.getpeername() == server.getsockname()
        connection.close()

    with listening() as server:
        server.setblocking(False)
        asyncio.run(ask(server))


def test_no_keep_alive_where_the_user_wants_none(tmp_path: Path) -> None:
    """TCPKeepAlive no is obeyed."""
    with listening() as server:
        port = server.getsockname()[1]
        got = fetched(tmp_path, Resolved("web01", "127.0.0.1", port=port, tcp_keep_alive=False))
        assert isinstance(got, socket.socket)
        with got:
            assert got.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


@pytest.mark.parametrize(
    ("resolved", "kind"),
    [
        (Resolved("web01", "127.0.0.1", port=1), "refused"),
        (Resolved("web01", "no..such"), "dns"),
        (Resolved("web01", "127.0.0.1", address_family="inet6"), "dns"),
        (Resolved("web01", "ff02::1"), "unreachable"),
    ],
    ids=["refused", "no such name", "the other family", "no route"],
)
def test_why_there_is_none_is_told_as_ssh_tells_it(
    tmp_path: Path, resolved: Resolved, kind: FailureKind
) -> None:
    """What the helper prints is read like ssh's own words."""
    said = fetched(tmp_path, resolved)
    assert isinstance(said, str)
    assert classify(said, host="web01", exit_status=255).kind == kind


def test_an_address_that_is_silent_is_overtaken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next address of a name is tried after a quarter of a second, not after the first one's time-out."""
    with listening() as silent, listening() as server:
        full = [
            socket.create_connection(silent.getsockname()) for _ in range(2)
        ]  # the kernel drops the next SYN
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", one.getsockname()) for one in (silent, server)]

        async def look_up(*_: object) -> list[object]:
            return list(found)

        monkeypatch.setattr(own_connection, "_look_up", look_up)
        begun = time.monotonic()
        got = fetched(tmp_path, Resolved("web01", "two.example"))
        took = time.monotonic() - begun
        assert isinstance(got, socket.socket)
        assert got.getpeername() == server.getsockname()
        assert STAGGER_S <= took < DEADLINE_S / 2
        for one in (got, *full):
            one.close()


def test_silence_ends_at_the_time_out(tmp_path: Path) -> None:
    """ConnectTimeout counts, and its end is told as ssh tells it."""
    with listening() as silent:
        full = [socket.create_connection(silent.getsockname()) for _ in range(2)]
        port = silent.getsockname()[1]
        said = fetched(tmp_path, Resolved("web01", "127.0.0.1", port=port), timeout_s=0.2)
        assert said == f"ssh: connect to host 127.0.0.1 port {port}: Connection timed out\r\n"
        for one in full:
            one.close()


def test_a_helper_without_an_agent_says_so(tmp_path: Path) -> None:
    """When the agent is gone the helper ends at once, with a line that names it."""
    done = subprocess.run(
        words_of(str(tmp_path / "gone")), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 255
    assert "trayagent: " in done.stderr
    assert "No such file" in done.stderr


def test_nothing_is_left_open_when_nobody_came(tmp_path: Path) -> None:
    """A connection that ssh never fetched is closed: the server sees its end."""

    async def offer(server: socket.socket) -> None:
        resolved = Resolved("web01", "127.0.0.1", port=server.getsockname()[1])
        connection = PreconnectedSocket(resolved, DEADLINE_S)
        server.setblocking(False)
        loop = asyncio.get_running_loop()
        async with connection.offered(tmp_path / "connection"):
            accepted, _ = await asyncio.wait_for(loop.sock_accept(server), DEADLINE_S)
        with accepted:
            assert await asyncio.wait_for(loop.sock_recv(accepted, 1), DEADLINE_S) == b""
        assert not connection.asked

    with listening() as server:
        asyncio.run(offer(server))


def test_a_second_connection_gets_through_where_the_first_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is looked up again in the network of now, and ssh gets the first connection that stands."""
    found = own_connection._look_up
    asked: list[str] = []

    async def look_up(host: str, port: int, family: socket.AddressFamily) -> own_connection._Found:
        asked.append(host)
        if len(asked) == 1:
            await asyncio.Event().wait()  # a name server that is gone
        return await found(host, port, family)

    monkeypatch.setattr(own_connection, "_look_up", look_up)

    async def ask(port: int) -> None:
        at, stands = tmp_path / "connection", list[str]()
        connection = PreconnectedSocket(
            Resolved("web01", "127.0.0.1", port=port), DEADLINE_S, established=stands.append
        )
        mine, its = socket.socketpair()
        with mine:
            async with connection.offered(at):
                helper = await asyncio.create_subprocess_exec(*words_of(str(at)), stdout=its.fileno())
                its.close()
                while not connection.asked:  # noqa: ASYNC110  # no event tells
                    await asyncio.sleep(0.01)
                assert not stands
                connection.again()
                assert await asyncio.wait_for(helper.wait(), DEADLINE_S) == 0
                connection.again()  # nothing is left to be done
            connection.close()
            _, rights, _, _ = socket.recv_fds(mine, 1, 1)
        assert stands == ["127.0.0.1"]
        assert len(asked) == 2
        with socket.socket(fileno=rights[0]) as got:
            assert got.getpeername() == ("127.0.0.1", port)

    with listening() as server:
        asyncio.run(ask(server.getsockname()[1]))


def test_no_second_connection_goes_the_way_of_the_first(tmp_path: Path) -> None:
    """A packet is on its way there from the same address already; a server would only see one of two cut."""
    with listening() as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):

            async def ask() -> int:
                connection = PreconnectedSocket(Resolved("web01", "127.0.0.1", port=port), DEADLINE_S)
                async with connection.offered(tmp_path / "connection"):
                    for _ in range(3):
                        await asyncio.sleep(0.05)
                        connection.again()
                    await asyncio.sleep(0.05)
                    return len(connection._sockets)

            assert asyncio.run(ask()) == 1
