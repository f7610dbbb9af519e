"""Read Unix sockets with their names, inodes and peers.

Source: sock_diag(7), linux/unix_diag.h. /proc/net/unix shows neither peers nor backlog.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from msgspec import Struct

from trayagent.netlink.channel import DUMP_TRIES, Channel
from trayagent.netlink.errors import NetlinkError
from trayagent.netlink.inet_diag import SOCK_DIAG_BY_FAMILY
from trayagent.netlink.wire import NLMSG_DONE, attributes, number

ESTABLISHED, LISTEN = 1, 10

UDIAG_SHOW_NAME, UDIAG_SHOW_VFS, UDIAG_SHOW_PEER = 1, 2, 4
UNIX_DIAG_NAME, UNIX_DIAG_VFS, UNIX_DIAG_PEER = 0, 1, 2
_REQUEST = struct.Struct("=BBHIIIII")
_ANSWER = struct.Struct("=BBBBIII")
_INODE = struct.Struct("=I")
_ANY = 0xFFFFFFFF  # any state, or any cookie
_COOKIE = slice(8, 16)  # where an answer has the cookie, which is unique for each socket


class UnixSocket(Struct, frozen=True):
    """One Unix socket; `peer` is the inode at the other end, 0 for none.

    `name` is the name to which the socket was bound, even if the file has another name now; "" for none, "@…" for an
    abstract name. `file_inode` is the inode of the socket's file, cut to 32 bits, 0 for none. It stays the same when
    the file is linked or renamed. (The device number beside it differs from that of stat on btrfs.)
    """

    kind: int
    state: int
    inode: int
    name: str = ""
    peer: int = 0
    file_inode: int = 0


def parse_unix(body: bytes) -> UnixSocket:
    """Return the socket in one answer to a UNIX_DIAG request; raises NetlinkError if the answer is too short."""
    if len(body) < _ANSWER.size:
        raise NetlinkError(f"a Unix socket's record has {len(body)} bytes instead of {_ANSWER.size}")
    _, kind, state, _, inode, _, _ = _ANSWER.unpack_from(body)
    found = attributes(body, _ANSWER.size)
    name = found.get(UNIX_DIAG_NAME, b"")
    shown = b"@" + name[1:] if name.startswith(b"\0") else name.partition(b"\0")[0]
    return UnixSocket(
        kind,
        state,
        inode,
        os.fsdecode(shown),
        number(found.get(UNIX_DIAG_PEER)),
        number(found.get(UNIX_DIAG_VFS, b"")[:4]),
    )


def unix_sockets(
    channel: Channel, *states: int, names: bool = True, peers: bool = True, file_inode: int | None = None
) -> list[UnixSocket]:
    """Return the Unix sockets in these states (no state: all sockets). Raise NetlinkError.

    With `file_inode` (32 bits), return at least those with this inode of their file. Most of the other sockets are not
    parsed, which saves most of the time.

    A dump in one datagram is complete. A dump in several may not be: to resume it, the kernel counts the sockets of a
    hash bucket. If one of these was closed meanwhile, the kernel skips another one and sets no flag. So try again if
    there were several datagrams. The kernel makes larger datagrams once it knows the reader's buffer, so the second
    dump often fits into one. If none does, return the union of the dumps.
    """
    body = request(*states, names=names, peers=peers)
    needle = b"" if file_inode is None else _INODE.pack(file_inode)
    union: dict[bytes, UnixSocket] = {}
    for _ in range(DUMP_TRIES):
        parts = [
            [m.body for m in part if m.type != NLMSG_DONE]
            for part in channel.dump_once(SOCK_DIAG_BY_FAMILY, body)
        ]
        found = {body[_COOKIE]: parse_unix(body) for part in parts for body in part if needle in body}
        if sum(map(bool, parts)) <= 1:
            return list(found.values())
        union |= found
    return list(union.values())


def unix_socket(channel: Channel, inode: int) -> UnixSocket | None:
    """Return the Unix socket with this inode, in whatever state, or None. Raise NetlinkError.

    For a few sockets, this is much cheaper than a dump of all.
    """
    show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER
    body = _REQUEST.pack(socket.AF_UNIX, 0, 0, _ANY, inode & _ANY, show, _ANY, _ANY)
    try:
        return parse_unix(channel.query(SOCK_DIAG_BY_FAMILY, body).body)
    except NetlinkError as e:
        if e.errno == errno.ENOENT:
            return None
        raise


def request(*states: int, names: bool = True, peers: bool = True) -> bytes:
    """Return the body of a request for the Unix sockets in these states (no state: all sockets)."""
    mask = sum(1 << s for s in states) if states else _ANY
    show = (UDIAG_SHOW_NAME | UDIAG_SHOW_VFS if names else 0) | (UDIAG_SHOW_PEER if peers else 0)
    return _REQUEST.pack(socket.AF_UNIX, 0, 0, mask, 0, show, _ANY, _ANY)
