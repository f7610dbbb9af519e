"""The pipes through which the helper of an ssh, a shell, requests the connection that the agent made (`preconnect`).

ssh starts this shell for its ProxyCommand. The shell writes its pid to one pipe and waits at the other one. The agent
sends the connection to ssh through the shell's standard output, which ssh receives it from, and closes the pipes. A
shell starts in a tenth of the time that Python needs, and after a move, many hosts log in at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

_FDPASS = b"fdpass"


def shell_command(path: str, fdpass: str) -> str:
    """Return the ProxyCommand that requests the connection through the pipes at `path`.

    ssh runs it in a shell, with `exec` in front, so it begins with a redirection. If the agent cannot send the
    connection, the shell becomes the program `fdpass`. If there is no connection, the agent sends the reason.
    """
    request = f"3<{path}.go; echo $$ >{path}.pid; read -r line <&3"
    refused = r'printf "%%s\r\n" "$line" >&2; exit 255'
    return f'{request}; case $line in "") ;; {_FDPASS.decode()}) exec {fdpass} ;; *) {refused} ;; esac'


class HelperPipes:
    """The agent's ends of the pipes. `came` is called with the pid of the helper. Raise OSError."""

    def __init__(self, path: Path, came: Callable[[int], None]) -> None:
        self._came = came
        self._paths = [path.with_name(path.name + suffix) for suffix in (".pid", ".go")]
        self._fds: list[int] = []
        try:
            for one in self._paths:
                os.mkfifo(one, 0o600)
                self._fds.append(os.open(one, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        except BaseException:
            self.close()
            raise
        asyncio.get_running_loop().add_reader(self._fds[0], self._announced)

    def release(self, line: bytes = b"") -> None:
        """Let the helper end. `line` is the reason why there is no connection."""
        if len(self._fds) == len(self._paths):
            with contextlib.suppress(OSError):
                os.write(self._fds[1], line.replace(b"\n", b" ") + b"\n" if line else b"")
        self._close_fds()

    def use_fdpass(self) -> None:
        """Let the helper become `fdpass`, because the agent may not send the connection."""
        self.release(_FDPASS)

    def close(self) -> None:
        """Remove the pipes. A helper that waits ends without a connection."""
        self._close_fds()
        for one in self._paths:
            one.unlink(missing_ok=True)

    def _announced(self) -> None:
        word = os.read(self._fds[0], 64).strip()
        if word.isdigit():
            self._came(int(word))

    def _close_fds(self) -> None:
        if len(self._fds) == len(self._paths):
            asyncio.get_running_loop().remove_reader(self._fds[0])
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
