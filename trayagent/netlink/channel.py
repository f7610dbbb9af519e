"""Send requests on a netlink socket and read the answers, which the kernel queues during the call."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from types import TracebackType
from typing import Self

from trayagent.netlink.errors import NetlinkError
from trayagent.netlink.wire import (
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    Message,
    error_of,
    messages,
    pack,
)

NETLINK_ROUTE, NETLINK_SOCK_DIAG = 0, 4

# The kernel fills dump datagrams up to 32 KiB if the reader offers that much (NL_CB skb sizing).
READ_BYTES = 64 * 1024
# How often to try a dump, because a dump that a change interrupted is inconsistent. If the network keeps changing,
# accept the last one.
DUMP_TRIES = 3
# The kernel answers before sendto() returns, so the wait ends at once unless the kernel fails.
ANSWER_TIMEOUT_S = 2.0


class Channel:
    """A request socket of one netlink protocol; a context manager. Every method raises NetlinkError."""

    def __init__(self, protocol: int) -> None:
        self._socket = _open(protocol)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._seq = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._socket.close()

    def query(self, kind: int, body: bytes) -> Message:
        """Return the single answer to a request; raises NetlinkError with the kernel's errno."""
        self._send(kind, NLM_F_REQUEST, body)
        while True:
            for message in self._receive():
                if message.type == NLMSG_ERROR:
                    raise NetlinkError("the kernel refused a netlink request", error_of(message.body))
                return message

    def dump(self, kind: int, body: bytes) -> list[Message]:
        """Return all messages of a dump; repeat a dump that a change interrupted."""
        for _ in range(DUMP_TRIES):
            parts = self.dump_once(kind, body)
            if not any(message.flags & NLM_F_DUMP_INTR for part in parts for message in part):
                break
        return [message for part in parts for message in part if message.type != NLMSG_DONE]

    def dump_once(self, kind: int, body: bytes) -> list[list[Message]]:
        """Return a dump as the kernel's datagrams: one list of messages for each datagram.

        The last message is NLMSG_DONE.
        """
        self._send(kind, NLM_F_REQUEST | NLM_F_DUMP, body)
        parts: list[list[Message]] = []
        while True:
            part = self._receive()
            parts.append(part)
            for message in part:
                if message.type == NLMSG_ERROR:
                    raise NetlinkError("the kernel refused a netlink dump", error_of(message.body))
                if message.type == NLMSG_DONE:
                    return parts

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._seq += 1
        try:
            self._socket.sendto(pack(kind, flags, self._seq, body), (0, 0))
        except OSError as e:
            raise NetlinkError("sending a netlink request", e.errno or 0) from e

    def _receive(self) -> list[Message]:
        """Return the messages of the next datagram, without answers to an abandoned request."""
        try:
            data, _, flags, _ = self._socket.recvmsg(READ_BYTES)
        except OSError as e:
            raise NetlinkError("waiting for a netlink answer", e.errno or errno.ETIMEDOUT) from e
        if flags & socket.MSG_TRUNC:
            raise NetlinkError("a netlink answer was longer than its buffer")
        return [m for m in messages(data) if m.seq == self._seq]


def works(protocol: int) -> bool:
    """Report whether the kernel allows a netlink socket of this protocol."""
    with contextlib.suppress(NetlinkError):
        Channel(protocol).close()
        return True
    return False


def _open(protocol: int) -> socket.socket:
    if sys.platform != "linux":
        raise NetlinkError("opening a netlink socket", errno.EAFNOSUPPORT)
    try:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except OSError as e:
        raise NetlinkError("opening a netlink socket", e.errno or 0) from e
