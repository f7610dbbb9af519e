"""The parsing of recorded sock_diag answers, and queries of this kernel's sockets."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from trayagent.netlink import inet_diag, unix_diag
from trayagent.netlink.channel import NETLINK_SOCK_DIAG, Channel
from trayagent.netlink.errors import NetlinkError
from trayagent.netlink.wire import NLMSG_DONE, Message

Golden = dict[str, bytes]


@pytest.fixture
def channel() -> Iterator[Channel]:
    """Yield a socket to this kernel's sock_diag."""
    with Channel(NETLINK_SOCK_DIAG) as opened:
        yield opened


def test_a_recorded_connection_tells_its_life(golden: Golden) -> None:
    """Addresses, inode and the tcp_info fields are read from the kernel's layout."""
    found = inet_diag.parse_tcp(golden["tcp 192.0.2.10"])
    assert (found.local_ip, found.local_port, found.peer_ip, found.peer_port) == (
        "192.0.2.10",
        46384,
        "192.0.2.10",
        2222,
    )
    assert (found.state, found.inode) == (inet_diag.ESTABLISHED, 12644)
    info = found.info
    assert info is not None
    assert (info.rtt_us, info.rttvar_us, info.min_rtt_us, info.rto_us) == (33, 18, 9, 204000)
    assert (info.bytes_acked, info.bytes_sent, info.bytes_received) == (1001, 1000, 1)
    assert (info.unacked, info.retransmits, info.backoff, info.bytes_retrans) == (0, 0, 0, 0)
    assert found.unacked_bytes == 0


def test_a_mapped_address_is_shown_as_ipv4(golden: Golden) -> None:
    """An IPv6 socket that speaks IPv4 is shown with its IPv4 addresses, as in routes and interfaces."""
    found = inet_diag.parse_tcp(golden["tcp mapped"])
    assert (found.local_ip, found.peer_ip) == ("192.0.2.10", "192.0.2.10")


def test_recorded_unix_sockets_tell_name_and_peer(golden: Golden) -> None:
    """A bind name, an abstract name, and the peer of a pair are read."""
    listening = unix_diag.parse_unix(golden["unix listening"])
    assert listening.name == "/tmp/cm-web01.AbCdEf0123456789"  # noqa: S108 - a recorded name
    assert listening.state == unix_diag.LISTEN
    assert unix_diag.parse_unix(golden["unix abstract"]).name == "@bus"
    assert unix_diag.parse_unix(golden["unix pair"]).peer == 12651


@pytest.mark.parametrize("parse", [inet_diag.parse_tcp, unix_diag.parse_unix])
def test_a_record_that_is_cut_short_is_refused(parse: object) -> None:
    """A record of ten bytes is rejected."""
    assert callable(parse)
    with pytest.raises(NetlinkError, match="10 bytes"):
        parse(bytes(10))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_real_connection_is_found_by_its_four_numbers(channel: Channel, family: int) -> None:
    """The query for one socket agrees with the dump, also for IPv4 on an IPv6 socket."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(family, socket.SOCK_STREAM) as client,
    ):
        host = "127.0.0.1" if family == socket.AF_INET else "::ffff:127.0.0.1"
        client.connect((host, server.getsockname()[1]))
        accepted, peer = server.accept()
        with accepted:
            inode = os.fstat(client.fileno()).st_ino
            one = inet_diag.tcp_socket(channel, peer, server.getsockname())
            assert one is not None
            assert one.inode == inode
            assert one.info is not None
            dumped = {s.inode: s for s in inet_diag.tcp_sockets(channel, inet_diag.ESTABLISHED)}
            assert dumped[inode].peer_port == server.getsockname()[1]
            assert dumped[inode].info is None
            assert os.fstat(server.fileno()).st_ino not in dumped


def test_a_connection_that_is_gone_is_no_listener(channel: Channel) -> None:
    """For a connection that has ended, the kernel may return the listener on the local port, which is ignored."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = server.getsockname()
        assert inet_diag.tcp_socket(channel, here, ("127.0.0.1", 9)) is None
    assert inet_diag.tcp_socket(channel, here, ("127.0.0.1", 9)) is None


def test_unacknowledged_bytes_show(channel: Channel) -> None:
    """Unread data counts as unacknowledged, and a zero window has its own timer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with socket.create_connection(server.getsockname()) as client:
            accepted, peer = server.accept()
            with accepted:
                client.setblocking(False)
                sent = 0
                try:
                    while sent < 1 << 24:
                        sent += client.send(bytes(65536))
                except BlockingIOError:
                    pass
                found = inet_diag.tcp_socket(channel, peer, server.getsockname())
    assert found is not None
    assert found.info is not None
    assert found.info.bytes_acked < sent
    assert found.unacked_bytes == sent - (found.info.bytes_acked - 1)  # the SYN counts as one byte
    assert found.timer in {inet_diag.TIMER_RETRANSMIT, inet_diag.TIMER_ZERO_WINDOW}
    assert found.expires_ms > 0


def test_a_real_unix_listener_keeps_its_bind_name(channel: Channel, tmp_path: Path) -> None:
    """Renaming the file does not change the kernel's name for the socket, and the file's inode finds the socket."""
    path = tmp_path / "s.0123456789abcdef"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        renamed = path.rename(tmp_path / "s")
        inode = os.fstat(listener.fileno()).st_ino
        found = {s.inode: s for s in unix_diag.unix_sockets(channel, unix_diag.LISTEN)}
    assert found[inode].name == str(path)
    assert found[inode].file_inode == renamed.stat().st_ino & 0xFFFFFFFF


def test_a_real_pair_knows_its_peer(channel: Channel) -> None:
    """Each end of a socket pair has the other's inode as its peer."""
    one, other = socket.socketpair()
    with one, other:
        inodes = [os.fstat(s.fileno()).st_ino for s in (one, other)]
        found = {s.inode: s.peer for s in unix_diag.unix_sockets(channel, unix_diag.ESTABLISHED, names=False)}
    assert found[inodes[0]] == inodes[1]
    assert found[inodes[1]] == inodes[0]


def test_one_unix_socket_is_found_by_its_inode(channel: Channel) -> None:
    """A request for one inode answers with that socket and its peer, and with None once the socket is closed."""
    one, other = socket.socketpair()
    with one, other:
        inodes = [os.fstat(s.fileno()).st_ino for s in (one, other)]
        found = unix_diag.unix_socket(channel, inodes[0])
        assert found is not None
        assert (found.inode, found.peer, found.state) == (*inodes, unix_diag.ESTABLISHED)
    assert unix_diag.unix_socket(channel, inodes[0]) is None


EVERY_STREAM = (inet_diag.SOCK_DIAG_BY_FAMILY, unix_diag.request(unix_diag.ESTABLISHED))
PAIRS = 2000  # a dump of so many sockets needs seven datagrams


class ClosingChannel(Channel):
    """A channel that closes sockets during its next dump, at the place where the kernel will resume the dump.

    When a datagram arrives, the kernel has already prepared the next one. The last sockets of that next datagram
    share a hash bucket with the first sockets of the following one.
    """

    def __init__(self, ours: dict[int, socket.socket]) -> None:
        super().__init__(NETLINK_SOCK_DIAG)
        self.ours = ours
        self.following: Iterator[list[int]] = iter(())
        self.dump_once(*EVERY_STREAM)  # from here on the datagrams are large
        self.following = iter([inodes_of(part) for part in self.dump_once(*EVERY_STREAM)][1:])

    def _receive(self) -> list[Message]:
        received = super()._receive()
        for inode in next(self.following, [])[-20::2]:
            closed = self.ours.pop(inode, None)
            if closed is not None:
                closed.close()
        return received


def inodes_of(part: list[Message]) -> list[int]:
    """Return the inodes of the sockets in one datagram of a dump."""
    return [unix_diag.parse_unix(m.body).inode for m in part if m.type != NLMSG_DONE]


@pytest.fixture
def many_sockets() -> Iterator[dict[int, socket.socket]]:
    """Yield many connected Unix sockets by inode. Raise the soft limit of open files, which is often 1024."""
    needed = 2 * PAIRS + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < needed:
        pytest.skip(f"this user may open only {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    sockets = [end for _ in range(PAIRS) for end in socket.socketpair()]
    yield {os.fstat(end.fileno()).st_ino: end for end in sockets}
    for end in sockets:
        end.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_kernel_skips_sockets_while_others_close(many_sockets: dict[int, socket.socket]) -> None:
    """A single dump can lack sockets that existed all the time. If this test fails, the next one proves nothing."""
    with ClosingChannel(many_sockets) as channel:
        found = {inode for part in channel.dump_once(*EVERY_STREAM) for inode in inodes_of(part)}
    assert many_sockets.keys() - found


def test_no_socket_is_missed_while_others_close(many_sockets: dict[int, socket.socket]) -> None:
    """The result contains each socket that existed all the time, although the first dump lacks some."""
    with ClosingChannel(many_sockets) as channel:
        found = {s.inode for s in unix_diag.unix_sockets(channel, unix_diag.ESTABLISHED)}
    assert not many_sockets.keys() - found
