"""The agent's requests to the near relay: one JSON object per line, with descriptors (SCM_RIGHTS)."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys

from trayagent.roaming.far_relay_and_resend_buffer import LINE_MAX, READ, is_hex, receive_fds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from trayagent.roaming.near_connections import Connections

VERSION = 1
OLDEST = 1
FDS_MAX = 8  # for one request: two of the channel, and others that keep the channel open
BACKLOG_MAX = 256 * 1024  # drop a client that leaves more than this unread
SESSIONS_MAX = 64
ROAM_FOR_MAX_S = 30 * 86_400.0


class BadRequestError(Exception):
    """The relay refuses a request. The message is a code."""


class Client:
    """One connection from a client, usually the agent."""

    def __init__(self, relay: Connections, sock: socket.socket) -> None:
        self.relay, self.sock = relay, sock
        sock.setblocking(False)
        self.fd = sock.fileno()
        self.watches = False
        self.said = b""
        self.fds: list[int] = []
        self.backlog = b""
        self.closed = False
        self._requests = {
            "start": self._start,
            "attach": self._attach,
            "attach-port": self._attach_port,
            "status": self._status,
            "watch": self._watch_events,
            "end": self._end,
            "quit": self._quit,
        }
        self._watch()

    def greet(self) -> None:
        """Send the first message: this relay's identity, and the versions of the protocol."""
        relay = self.relay
        self.send(
            {
                "relay": "near",
                "v": VERSION,
                "oldest": OLDEST,
                "ports": True,
                "instance": relay.instance,
                "pid": os.getpid(),
            }
        )

    def send(self, words: dict[str, Any], fd: int | None = None) -> None:
        """Send a JSON object. If `fd` is given, pass this descriptor with it."""
        if self.closed:
            return
        line = json.dumps(words).encode() + b"\n"
        if fd is not None and not self.backlog:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
            try:
                line = line[self.sock.sendmsg([line], rights) :]
            except OSError:
                self.close()
                return
        self.backlog += line
        self._write()

    def close(self) -> None:
        """Close this client's connection and forget it. The ssh connections that it started continue."""
        if self.closed:
            return
        self.closed = True
        self.relay.loop.forget(self.fd)
        self.relay.clients.remove(self)
        self.sock.close()
        self._close_fds(self.fds)

    def _write(self) -> None:
        try:
            while self.backlog:
                self.backlog = self.backlog[self.sock.send(self.backlog) :]
        except BlockingIOError:
            if len(self.backlog) > BACKLOG_MAX:
                self.close()
        except OSError:
            self.close()
        self._watch()

    def _watch(self) -> None:
        if not self.closed:
            self.relay.loop.watch(self.fd, READ | (select.POLLOUT if self.backlog else 0), self._ready)

    def _ready(self, events: int) -> None:
        try:
            if events & select.POLLOUT:
                self._write()
            if events & ~select.POLLOUT and not self.closed:
                self._read()
        except Exception:  # a bug in this program must end this client only, and no ssh connection
            sys.excepthook(*sys.exc_info())
            self.close()

    def _read(self) -> None:
        try:
            said, fds = receive_fds(self.sock, LINE_MAX, FDS_MAX)
        except BlockingIOError:
            return
        except OSError:
            said, fds = b"", []
        self.fds += fds
        self.said += said
        if not said:
            self.close()
            return
        while b"\n" in self.said and not self.closed:
            line, _, self.said = self.said.partition(b"\n")
            self._obey(line)
        if len(self.said) > LINE_MAX or len(self.fds) > FDS_MAX:
            self.close()

    def _obey(self, line: bytes) -> None:
        tag: Any = None
        try:
            order = json.loads(line)
            if not isinstance(order, dict):
                raise BadRequestError("malformed")
            tag = order.get("tag")
            if order.get("v") not in range(OLDEST, VERSION + 1):
                raise BadRequestError("version")
            todo = self._requests.get(str(order.get("do")))
            if todo is None:
                self._close_fds(self.fds)  # they must not be taken for those of the next request
                raise BadRequestError("unknown-request")
            todo(order, tag)
        except (ValueError, RecursionError):
            self.send({"ok": False, "error": "malformed", "tag": tag})
        except BadRequestError as bad:
            self.send({"ok": False, "error": str(bad), "tag": tag})

    # -- requests -----------------------------------------------------------------------------------

    def _start(self, order: dict[str, Any], tag: Any) -> None:
        from_relay = self.relay
        name, secret, roam_for = order.get("id"), order.get("secret"), order.get("roam_for")
        if not isinstance(name, str) or not is_hex(name, 16):
            raise BadRequestError("malformed")
        if not isinstance(secret, str) or not is_hex(secret, 32):
            raise BadRequestError("malformed")
        if isinstance(roam_for, bool) or not isinstance(roam_for, int | float):
            raise BadRequestError("malformed")
        if not 0 <= roam_for <= ROAM_FOR_MAX_S:
            raise BadRequestError("malformed")
        if name in from_relay.sessions:
            raise BadRequestError("exists")
        if len(from_relay.sessions) >= SESSIONS_MAX:
            raise BadRequestError("too-many")
        theirs = from_relay.open_session(
            {
                "id": name,
                "secret": secret,
                "roam_for": float(roam_for),
                "host": str(order.get("host", ""))[:256],
            }
        )
        with theirs:
            self.send({"ok": True, "id": name, "tag": tag}, theirs.fileno())

    def _attach(self, order: dict[str, Any], tag: Any) -> None:
        session = self._session(order)
        count = order.get("channel", 1)
        if count not in (1, 2) or isinstance(count, bool) or len(self.fds) < count:
            raise BadRequestError("no-descriptor")
        fds, self.fds = self.fds, []
        incoming, outgoing, keep = fds[0], fds[count - 1], tuple(fds[count:])
        session.attach(incoming, outgoing, keep, lambda words: self.send({**words, "tag": tag}))

    def _attach_port(self, order: dict[str, Any], tag: Any) -> None:
        session = self._session(order)
        if len(self.fds) != 1:
            self._close_fds(self.fds)
            raise BadRequestError("no-descriptor")
        if session.machine is None:
            self._close_fds(self.fds)
            raise BadRequestError("not-attached")
        fd = self.fds.pop()
        try:
            session.attach_port(fd, lambda words: self.send({**words, "tag": tag}))
        except ImportError:  # Python was upgraded since this relay started
            os.close(fd)
            raise BadRequestError("no-hash") from None

    def _status(self, _order: dict[str, Any], tag: Any) -> None:
        relay = self.relay
        sessions = [session.report() for session in relay.sessions.values()]
        self.send({"ok": True, "tag": tag, "sessions": sessions, "ended": relay.ended})

    def _watch_events(self, _order: dict[str, Any], tag: Any) -> None:
        self.watches = True
        self.send({"ok": True, "tag": tag})

    def _end(self, order: dict[str, Any], tag: Any) -> None:
        self._session(order).finish("ended")
        self.send({"ok": True, "tag": tag})

    def _quit(self, order: dict[str, Any], tag: Any) -> None:
        if self.relay.sessions and order.get("force") is not True:
            raise BadRequestError("busy")
        for session in list(self.relay.sessions.values()):
            session.finish("quit")
        self.relay.leaving = True
        self.send({"ok": True, "tag": tag})

    def _session(self, order: dict[str, Any]) -> Any:
        session = self.relay.sessions.get(str(order.get("id")))
        if session is None:
            self._close_fds(self.fds)
            raise BadRequestError("unknown")
        return session

    @staticmethod
    def _close_fds(fds: list[int]) -> None:
        while fds:
            os.close(fds.pop())
