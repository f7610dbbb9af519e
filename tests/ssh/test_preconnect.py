"""The connection that the agent makes while ssh starts, on real sockets and with the real helper."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.login.classify_failure import classify
from trayagent.ssh.master import preconnect
from trayagent.ssh.master import preconnect as own_connection
from trayagent.ssh.master.preconnect import STAGGER_S, PreconnectedSocket, command_of, words_of

DEADLINE_S = 20.0


@contextmanager
def listening(family: socket.AddressFamily = socket.AF_INET) -> Iterator[socket.socket]:
    """Listen on loopback, where the kernel establishes connections without accept()."""
    with socket.socket(family) as one:
        one.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        one.listen(1)
        yield one


def helper_of(at: Path) -> list[str]:
    """Return the command line with which ssh starts its helper (sshconnect.c, ssh_proxy_fdpass_connect)."""
    return ["/bin/sh", "-c", f"exec {command_of(str(at))}".replace("%%", "%")]


def fetched(
    folder: Path,
    resolved: Resolved,
    timeout_s: float = DEADLINE_S,
    *,
    first: str | None = None,
    program: bool = False,
) -> socket.socket | str:
    """Run the real helper as ssh does, with a socket as its output; with `program`, run `fdpass` itself.

    Return the passed connection or the helper's message.
    """

    async def ask() -> socket.socket | str:
        at = folder / "connection"
        mine, its = socket.socketpair()
        connection = PreconnectedSocket(resolved, timeout_s, first=first)
        async with connection.offered(at):
            helper = await asyncio.create_subprocess_exec(
                *(words_of(str(at)) if program else helper_of(at)),
                stdin=its.fileno(),
                stdout=its.fileno(),
                stderr=subprocess.PIPE,
            )
            its.close()
            _, said = await asyncio.wait_for(helper.communicate(), DEADLINE_S)
        connection.close()
        with mine:
            _, rights, _, _ = socket.recv_fds(mine, 1, 1)
        assert not list(folder.iterdir())
        assert (helper.returncode == 0) == bool(rights)
        return socket.socket(fileno=rights[0]) if rights else said.decode()

    return asyncio.run(ask())


@pytest.mark.parametrize("program", [False, True])
def test_ssh_gets_a_connection_that_delays_nothing(tmp_path: Path, program: bool) -> None:
    """The helper passes an established connection in blocking mode, with TCP_NODELAY and keep-alive."""
    with listening() as server:
        got = fetched(tmp_path, Resolved("web01", "127.0.0.1", port=server.getsockname()[1]), program=program)
        assert isinstance(got, socket.socket)
        with got:
            assert got.getpeername() == server.getsockname()
            assert got.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert got.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
            assert got.getblocking()


def test_the_back_off_of_a_connection_is_bounded(tmp_path: Path) -> None:
    """The kernel retransmits at least every 1.5 s and gives up after 15 minutes, or neither limit is set."""
    if sys.platform != "linux":
        pytest.skip("only Linux has both options")
    with listening() as server:
        got = fetched(tmp_path, Resolved("web01", "127.0.0.1", port=server.getsockname()[1]))
        assert isinstance(got, socket.socket)
        with got:
            give_up_ms = got.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            try:
                most_ms = got.getsockopt(socket.IPPROTO_TCP, preconnect._TCP_RTO_MAX_MS)
            except OSError:  # an older kernel lacks the option
                assert give_up_ms == 0
            else:
                assert (most_ms, give_up_ms) == (preconnect._RTO_MAX_MS, preconnect._GIVE_UP_MS)


def test_a_held_connection_is_passed_only_after_its_release(tmp_path: Path) -> None:
    """A held connection is established meanwhile, and passed to ssh only after its release."""

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
                    for _ in range(200):
                        # long enough for all ready callbacks to run; ten rounds would be enough
                        await asyncio.sleep(0)
                    assert connection.helper_came
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
    """With `TCPKeepAlive no`, the connection has no keep-alive."""
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
def test_the_reason_of_a_failure_is_in_ssh_s_words(
    tmp_path: Path, resolved: Resolved, kind: FailureKind
) -> None:
    """The helper prints the reason of a failure in ssh's own words, so that the agent classifies it correctly."""
    said = fetched(tmp_path, resolved)
    assert isinstance(said, str)
    assert classify(said, host="web01", exit_status=255).kind == kind


def test_the_next_address_is_tried_beside_a_silent_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an address is silent, the agent tries the next one after 0.25 s, not after the time-out."""
    with listening() as silent, listening() as server:
        full = [
            socket.create_connection(silent.getsockname()) for _ in range(2)
        ]  # the kernel drops the next SYN
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", one.getsockname()) for one in (silent, server)]

        async def look_up(*_: object) -> list[object]:
            return list(found)

        monkeypatch.setattr(own_connection, "_resolve", look_up)
        begun = time.monotonic()
        got = fetched(tmp_path, Resolved("web01", "two.example"))
        took = time.monotonic() - begun
        assert isinstance(got, socket.socket)
        assert got.getpeername() == server.getsockname()
        assert STAGGER_S <= took < DEADLINE_S / 2
        for one in (got, *full):
            one.close()


def test_a_preferred_address_is_tried_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several addresses, the agent tries the preferred one first. An address that the name lacks changes nothing."""
    with socket.create_server(("127.0.0.2", 0)) as one, socket.create_server(("127.0.0.3", 0)) as two:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", at.getsockname()) for at in (one, two)]

        async def look_up(*_: object) -> list[object]:
            return list(found)

        monkeypatch.setattr(own_connection, "_resolve", look_up)
        for first, reached in (("127.0.0.3", two), ("127.0.0.4", one)):
            got = fetched(tmp_path, Resolved("web01", "two.example"), first=first)
            assert isinstance(got, socket.socket)
            assert got.getpeername() == reached.getsockname()
            got.close()


def test_a_silent_connection_ends_at_the_time_out(tmp_path: Path) -> None:
    """A silent connection ends after ConnectTimeout, with ssh's own message."""
    with listening() as silent:
        full = [socket.create_connection(silent.getsockname()) for _ in range(2)]
        port = silent.getsockname()[1]
        said = fetched(tmp_path, Resolved("web01", "127.0.0.1", port=port), timeout_s=0.2)
        assert said == f"ssh: connect to host 127.0.0.1 port {port}: Connection timed out\r\n"
        for one in full:
            one.close()


def test_where_the_agent_may_not_reach_the_helper_python_fetches_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the system forbids the agent to use the helper's descriptor, the shell becomes `fdpass`."""
    asked: list[int] = []
    monkeypatch.setattr(preconnect, "send_to_output", lambda pid, _: asked.append(pid))
    with listening() as server:
        got = fetched(tmp_path, Resolved("web01", "127.0.0.1", port=server.getsockname()[1]))
        assert isinstance(got, socket.socket)
        with got:
            assert got.getpeername() == server.getsockname()
    assert len(asked) == (sys.platform == "linux")


def test_a_shell_without_an_agent_ends(tmp_path: Path) -> None:
    """Without an agent the shell that ssh starts ends at once, and leaves no file."""
    done = subprocess.run(
        helper_of(tmp_path / "gone"), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode != 0
    assert str(tmp_path / "gone") in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_helper_without_an_agent_reports_it(tmp_path: Path) -> None:
    """Without an agent the helper ends at once, with a line that names trayagent."""
    done = subprocess.run(
        words_of(str(tmp_path / "gone")), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 255
    assert "trayagent: " in done.stderr
    assert "No such file" in done.stderr


def test_a_connection_that_ssh_never_requested_is_closed(tmp_path: Path) -> None:
    """A connection that ssh never requested is closed."""

    async def offer(server: socket.socket) -> None:
        resolved = Resolved("web01", "127.0.0.1", port=server.getsockname()[1])
        connection = PreconnectedSocket(resolved, DEADLINE_S)
        server.setblocking(False)
        loop = asyncio.get_running_loop()
        async with connection.offered(tmp_path / "connection"):
            accepted, _ = await asyncio.wait_for(loop.sock_accept(server), DEADLINE_S)
        with accepted:
            assert await asyncio.wait_for(loop.sock_recv(accepted, 1), DEADLINE_S) == b""
        assert not connection.helper_came

    with listening() as server:
        asyncio.run(offer(server))


def test_an_attempt_that_is_given_up_disturbs_no_other(tmp_path: Path) -> None:
    """If an attempt ends while it is connecting, attempts that begin at that moment still get their own connections."""

    async def run() -> None:
        with listening() as silent, listening() as server:
            full = [socket.create_connection(silent.getsockname()) for _ in range(2)]
            hangs, works = (
                Resolved("web01", "127.0.0.1", port=one.getsockname()[1]) for one in (silent, server)
            )
            given_up = PreconnectedSocket(hangs, DEADLINE_S)
            with pytest.raises(InterruptedError):
                async with given_up.offered(tmp_path / "given-up"):
                    async with asyncio.timeout(DEADLINE_S):
                        while not given_up._connecting_routes:  # noqa: ASYNC110  # no event reports this
                            await asyncio.sleep(0)
                    raise InterruptedError
            async with contextlib.AsyncExitStack() as stack:
                # the new connections reuse the ended attempt's descriptor numbers
                for number in range(3):
                    offer = PreconnectedSocket(works, DEADLINE_S).offered(tmp_path / f"next-{number}")
                    await stack.enter_async_context(offer)
                await asyncio.sleep(0.1)
            for one in full:
                one.close()

    asyncio.run(run())
    assert not list(tmp_path.iterdir())


def test_a_second_connection_succeeds_if_the_first_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second connection resolves the name again, and ssh gets the first connection that is established."""
    found = own_connection._resolve
    helper_came: list[str] = []

    async def look_up(host: str, port: int, family: socket.AddressFamily) -> own_connection._Found:
        helper_came.append(host)
        if len(helper_came) == 1:
            await asyncio.Event().wait()  # a name server that does not answer
        return await found(host, port, family)

    monkeypatch.setattr(own_connection, "_resolve", look_up)

    async def ask(port: int) -> None:
        at, stands = tmp_path / "connection", list[tuple[str, str, frozenset[str]]]()
        connection = PreconnectedSocket(
            Resolved("web01", "127.0.0.1", port=port),
            DEADLINE_S,
            established=lambda local, peer, addresses, _mptcp: stands.append((local, peer, addresses)),
        )
        mine, its = socket.socketpair()
        with mine:
            async with connection.offered(at):
                helper = await asyncio.create_subprocess_exec(*words_of(str(at)), stdout=its.fileno())
                its.close()
                while not connection.helper_came:  # noqa: ASYNC110  # no event reports this
                    await asyncio.sleep(0.01)
                assert not stands
                connection.again()
                assert await asyncio.wait_for(helper.wait(), DEADLINE_S) == 0
                connection.again()  # has no effect any more
            connection.close()
            _, rights, _, _ = socket.recv_fds(mine, 1, 1)
        assert stands == [("127.0.0.1", "127.0.0.1", frozenset({"127.0.0.1"}))]
        assert len(helper_came) == 2
        with socket.socket(fileno=rights[0]) as got:
            assert got.getpeername() == ("127.0.0.1", port)

    with listening() as server:
        asyncio.run(ask(server.getsockname()[1]))


def test_no_second_connection_has_the_addresses_of_the_first(tmp_path: Path) -> None:
    """No second connection uses the same two addresses, because the server would see one of them cut off."""
    with listening() as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            begun: list[object] = []

            class Counting(PreconnectedSocket):
                async def _connect(
                    self, family: socket.AddressFamily, address: Any, *, mptcp: bool = False
                ) -> socket.socket:
                    begun.append(address)
                    return await super()._connect(family, address, mptcp=mptcp)

            async def ask() -> int:
                connection = Counting(Resolved("web01", "127.0.0.1", port=port), DEADLINE_S)
                async with connection.offered(tmp_path / "connection"):
                    for _ in range(3):
                        await asyncio.sleep(0.05)
                        connection.again()
                    await asyncio.sleep(0.05)
                return len(begun)

            assert asyncio.run(ask()) == 1
