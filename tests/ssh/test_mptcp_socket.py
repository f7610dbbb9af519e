"""Connections by Multipath TCP on loopback, with real sockets of this kernel."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from trayagent.core.facts.mptcp import MptcpTry, Outcome
from trayagent.core.facts.resolved import Resolved
from trayagent.ssh.master import preconnect
from trayagent.ssh.master.mptcp_socket import IPPROTO_MPTCP, connect, is_enabled, tcp_socket
from trayagent.ssh.master.preconnect import PreconnectedSocket

pytestmark = pytest.mark.skipif(not is_enabled(), reason="this kernel has no MPTCP")

DEADLINE_S = 20.0
PLAIN_AFTER_S = 0.3
Made = tuple[socket.socket | str, Outcome | None]


@contextmanager
def listening(*, mptcp: bool) -> Iterator[socket.socket]:
    """Listen on loopback, where the kernel establishes connections without accept()."""
    with tcp_socket(socket.AF_INET, mptcp=mptcp) as one:
        one.bind(("127.0.0.1", 0))
        one.listen(8)
        yield one


def made(server: socket.socket, how: MptcpTry | None) -> Made:
    """Return the connection that the agent makes to the server, and how Multipath TCP went."""
    outcomes: list[Outcome | None] = []

    async def make() -> socket.socket | str:
        resolved = Resolved("web01", "127.0.0.1", port=server.getsockname()[1])
        connection = PreconnectedSocket(
            resolved, DEADLINE_S, established=lambda *found: outcomes.append(found[3]), mptcp=how
        )
        return await connection.made()

    return asyncio.run(make()), outcomes[0]


def test_a_server_that_speaks_it_answers() -> None:
    """With both ends, the socket uses Multipath TCP, and the kernel bounds no back-off on it."""
    with listening(mptcp=True) as server:
        got, outcome = made(server, MptcpTry(PLAIN_AFTER_S))
        assert isinstance(got, socket.socket)
        with got:
            assert (got.proto, outcome) == (IPPROTO_MPTCP, "answered")
            assert got.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert got.getblocking()


def test_a_server_without_it_gives_plain_tcp_at_once() -> None:
    """The connection falls back in the same round trip, and may acknowledge at once like any other."""
    with listening(mptcp=False) as server:
        began = time.monotonic()
        got, outcome = made(server, MptcpTry(DEADLINE_S))
        assert time.monotonic() - began < DEADLINE_S / 2
        assert isinstance(got, socket.socket)
        with got:
            assert outcome == "fell-back"
            if sys.platform == "linux":
                got.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


@pytest.mark.parametrize("how", [None, MptcpTry(PLAIN_AFTER_S, frozenset({"127.0.0.1"}))])
def test_plain_tcp_where_it_is_not_to_be_tried(how: MptcpTry | None) -> None:
    """Without a record of the server, and from an address of a tunnel, the socket is plain TCP."""
    with listening(mptcp=True) as server:
        got, outcome = made(server, how)
        assert isinstance(got, socket.socket)
        with got:
            assert got.proto != IPPROTO_MPTCP
            assert outcome is None


def test_plain_tcp_follows_a_syn_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the SYN gets no answer, plain TCP is made after the given time, and the outcome says so."""

    async def dropping(one: socket.socket, address: object) -> None:
        if one.proto == IPPROTO_MPTCP:
            await asyncio.Event().wait()
        await connect(one, address)

    monkeypatch.setattr(preconnect, "connect", dropping)
    with listening(mptcp=True) as server:
        began = time.monotonic()
        got, outcome = made(server, MptcpTry(PLAIN_AFTER_S))
        took_s = time.monotonic() - began
        assert isinstance(got, socket.socket)
        with got:
            assert (got.proto == IPPROTO_MPTCP, outcome) == (False, "dropped")
        assert PLAIN_AFTER_S <= took_s < DEADLINE_S / 2


def test_a_machine_that_offers_none_makes_plain_tcp_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel refuses the socket, plain TCP follows without a wait, and nothing is learned about the network."""

    def refusing(family: socket.AddressFamily, *, mptcp: bool) -> socket.socket:
        if mptcp:
            raise OSError(93, "Protocol not supported")
        return tcp_socket(family, mptcp=False)

    monkeypatch.setattr(preconnect, "tcp_socket", refusing)
    with listening(mptcp=True) as server:
        began = time.monotonic()
        got, outcome = made(server, MptcpTry(DEADLINE_S))
        assert time.monotonic() - began < DEADLINE_S / 2
        assert isinstance(got, socket.socket)
        got.close()
        assert outcome is None
