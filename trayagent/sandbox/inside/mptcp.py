"""Multipath TCP for programs that do not support it: a listener that runs sshd, and a connection for ssh.

Usage: mptcp.py listen ADDRESS PORT WORDS…  runs the command for each connection, as stdin and stdout
       mptcp.py connect ADDRESS PORT        passes the connection on over stdout (ProxyUseFdpass, ssh_config(5))
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys

IPPROTO_MPTCP = 262


def listen(place: tuple[str, int], words: list[str]) -> None:
    """Accept connections, and run the command for each, as inetd does."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the children's exit statuses are not needed
    listener = socket.socket(_family(place), socket.SOCK_STREAM, IPPROTO_MPTCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(place)
    listener.listen(128)
    # The same line as sshd prints, because callers wait for it.
    os.write(2, f"Server listening on {place[0]} port {place[1]}.\n".encode())
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(connection.fileno(), 0)
            os.dup2(connection.fileno(), 1)
            os.execv(words[0], words)  # noqa: S606 - no shell is wanted
        connection.close()


def connect(place: tuple[str, int]) -> None:
    """Connect, and pass the socket on."""
    connection = socket.socket(_family(place), socket.SOCK_STREAM, IPPROTO_MPTCP)
    connection.connect(place)
    with contextlib.closing(socket.socket(fileno=1)) as out:
        socket.send_fds(out, [b"x"], [connection.fileno()])


def _family(place: tuple[str, int]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in place[0] else socket.AF_INET


def main() -> None:
    """Run the role that the command line selects."""
    role, address, port, *words = sys.argv[1:]
    place = (address, int(port))
    if role == "listen":
        listen(place, words)
    else:
        connect(place)


if __name__ == "__main__":
    main()
