"""A ProxyCommand for ProxyUseFdpass: hands ssh the connection that the agent made (`preconnect`).

It runs as a separate program while the user waits. To start fast, it imports only built-in modules and no module of
trayagent. If the agent has no connection, the agent sends the reason, worded like ssh's own, and this program prints
it.

Usage: fdpass.py SOCKET
"""

from __future__ import annotations

import _socket
import posix
import sys

_MESSAGE_MAX = 1024


def main(socket: str) -> int:
    """Take the connection from the agent and hand the connection to ssh; return the exit status."""
    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        agent.connect(socket)
        message, rights, _, _ = agent.recvmsg(_MESSAGE_MAX, _socket.CMSG_SPACE(4))
    except OSError as error:
        message, rights = f"trayagent: {socket}: {error.strerror}".encode(), []
    if not rights:
        posix.write(2, message + b"\r\n")
        return 255
    to_ssh = _socket.socket(
        _socket.AF_UNIX, _socket.SOCK_STREAM, 0, 1
    )  # stdout is one end of a socket pair that ssh made
    to_ssh.sendmsg([b"\0"], rights)
    return 0


if __name__ == "__main__":
    posix._exit(main(sys.argv[1]))  # noqa: SLF001  # exit fast, because ssh waits for that
