"""The near relay: one process that holds the user's ssh connections while the laptop changes networks.

The agent starts it as `python3 -I -S -E near_relay.py SOCKET`, in a scope of its own, so that it outlives the agent.
The next agent finds it by the socket. The relay imports everything at its start, because an upgrade of Python or
trayagent would break later imports. docs/roaming.md describes its two protocols.

Exit status: 0 after `quit`, 3 if another near relay already has the socket.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # with -I, Python does not add the program's own folder to sys.path
    sys.path.insert(0, __file__.rpartition("/trayagent/")[0] or "/")

import fcntl
import os
import signal
import socket

from trayagent.roaming.far_relay_and_resend_buffer import READ, clock, is_other_user
from trayagent.roaming.near_connections import Connections
from trayagent.roaming.near_requests import Client

CLIENTS_MAX = 16
RUNNING = 3


class NearRelay(Connections):
    """The near relay's connections, its control socket and its loop."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__()
        self.listener = listener
        listener.setblocking(False)
        self.loop.watch(listener.fileno(), READ, lambda _: self._accept())

    def run(self) -> None:
        """Serve until a client sends `quit`."""
        while not self.leaving:
            now, first = clock(), None
            for session in list(self.sessions.values()):
                at = session.deadline
                if at is not None and now >= at:
                    session.tick(now)
                    at = session.deadline if session.finished is None else None
                if at is not None and (first is None or at < first):
                    first = at
            self.loop.turn(first)

    def _accept(self) -> None:
        try:
            sock = self.listener.accept()[0]
        except OSError:
            return
        if is_other_user(sock) or len(self.clients) >= CLIENTS_MAX:
            sock.close()
            return
        client = Client(self, sock)
        self.clients.append(client)
        client.greet()


def listen(path: str) -> socket.socket | None:
    """Return the control socket, None if another near relay has it. Raise OSError."""
    # Without a lock, two near relays that start at the same time would each replace the other's socket.
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.umask(0o177)
    fresh = f"{path}.{os.getpid()}"
    listener.bind(fresh)
    listener.listen(CLIENTS_MAX)
    os.rename(fresh, path)  # noqa: PTH104  # pathlib would add to the memory
    return listener  # the lock is held until the process ends


def main(path: str) -> int:
    """Listen and serve; return the exit status."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    listener = listen(path)
    if listener is None:
        return RUNNING
    try:
        NearRelay(listener).run()
    finally:
        os.unlink(path)  # noqa: PTH108
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
