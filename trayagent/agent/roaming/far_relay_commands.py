"""Runs the commands of the far relay on a server, through a living master of the agent.

docs/roaming.md describes the commands and the files on the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from trayagent.agent.roaming.far_relay_errors import FarError
from trayagent.agent.roaming.install_far_relay import ABSENT, NO_PYTHON, check_script, install
from trayagent.errors import TrayagentError
from trayagent.roaming.far_relay_and_resend_buffer import MARKER
from trayagent.ssh.mux.client import ROUND_TRIP_S, MuxClient
from trayagent.ssh.mux.forward import UNIX_PATH, MuxForward
from trayagent.ssh.remote import run_script
from trayagent.ssh.remote.quote_script import command_line, quoted

_LINK = b'{"do": "link"}\n'
_RUN = "cd ~/.cache/trayagent && {prefix}python3 -s -S -E -m far_relay {words}"
# With KillUserProcesses=yes, logind kills the processes of a login at its end, unless they have a scope of their own.
# Source: logind.conf(5).
_NO_SCOPE = "TRAY-NO-SCOPE"
_SCOPE = f"""s=
k=$(busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager \
KillUserProcesses 2>/dev/null)
case $k in *true*)
  s='systemd-run --user --scope --quiet --'
  $s true </dev/null >/dev/null 2>&1 || {{ echo {_NO_SCOPE}; exit; }} ;;
esac
set -- $SSH_CONNECTION
"""


class FarAnswer(Struct, frozen=True):
    """The answer of a far relay's command: the server's machine and boot, and the printed JSON object."""

    machine: str
    boot: str
    words: dict[str, Any]


class Channel(Struct, frozen=True):
    """A channel to a far relay: our end of it, and the mux connection. The channel ends with that connection."""

    near_end: socket.socket
    control: socket.socket

    @property
    def fds(self) -> tuple[int, int]:
        """The descriptors that the near relay needs, in the order that it expects."""
        return self.near_end.fileno(), self.control.fileno()

    def close(self) -> None:
        """Close our copies. The near relay has its own."""
        self.near_end.close()
        self.control.close()


async def serve(
    control_path: str, token: str, roam_for_s: float, laptop: str, ports: str | None = None
) -> FarAnswer:
    """Start a far relay for a connection. If its program is missing or outdated, install it first.

    `laptop` is the name that `list` shows on the server. `ports`: also listen on one of these TCP ports.
    Raise FarError, or MuxError if the master does not answer.
    """
    script = _SCOPE + _RUN.format(
        prefix="$s ",
        words=f'serve "$3" "$4" {roam_for_s:g} {quoted(laptop[:64] or "laptop")} {ports or ""}'.rstrip(),
    )
    try:
        return await _checked(control_path, script, token)
    except _AbsentError:
        await install(control_path)
        return await _run(control_path, script, token)


async def end(control_path: str, token: str) -> FarAnswer:
    """End a far relay. Raise FarError; its code is "unknown" if there is no such relay on that machine."""
    try:
        return await _checked(control_path, _RUN.format(prefix="", words="end"), token)
    except _AbsentError:  # another version is installed; `end` works the same in all versions
        return await _run(control_path, _RUN.format(prefix="", words="end"), token)


async def look(control_path: str, token_id: str) -> FarAnswer:
    """Return what a login sees of a far relay that does not answer. Raise FarError, or MuxError.

    If this version of the program is missing, install it first.
    """
    script = _RUN.format(prefix="", words=f"look {token_id}")
    try:
        return await _checked(control_path, script, "")
    except _AbsentError:
        await install(control_path)
        return await _run(control_path, script, "")


async def relays(control_path: str) -> FarAnswer:
    """Return the far relays of this account on the server. Raise FarError."""
    return await _run(control_path, _RUN.format(prefix="", words="list"), "")


async def open_channel(control_path: str, token_id: str, *, timeout_s: float = ROUND_TRIP_S) -> Channel:
    """Open a channel to a far relay. Raise Timeout, Gone or Refused.

    The channel opens even if there is no such relay. The near relay reads from it whether there is one, and on which
    machine.
    """
    command = command_line(_RUN.format(prefix="exec ", words=f"attach {token_id}"))
    near_end, far_end = socket.socketpair()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    client: MuxClient | None = None
    try:
        client = await MuxClient.connect(control_path)
        await client.new_session(command, fds=(far_end.fileno(), far_end.fileno(), null), timeout_s=timeout_s)
    except BaseException:
        near_end.close()
        if client is not None:
            client.close()
        raise
    finally:
        far_end.close()
        os.close(null)
    return Channel(near_end, client.detach())


@contextlib.asynccontextmanager
async def direct_link(control_path: str, far_path: str, local: Path) -> AsyncIterator[socket.socket]:
    """Connect to a far relay's socket through a local forward at the path `local`. Yield the connection.

    This starts no process on the server. The body can pass on a copy of the connection, which stays open after the
    forward is closed. If the server refuses the forward, the connection ends. Raise Timeout, Gone, Refused, OSError.
    """
    forward = MuxForward("local", str(local), UNIX_PATH, far_path, UNIX_PATH)
    async with MuxClient.connected(control_path) as client:
        await client.open_forward(forward)
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(str(local))  # does not block: the master listens
            link.send(_LINK)
            yield link
        finally:
            link.close()
            local.unlink(missing_ok=True)
            with contextlib.suppress(TrayagentError):
                await client.close_forward(forward)


class _AbsentError(Exception):
    """The far relay is not installed, or another version is."""


async def _checked(control_path: str, script: str, token: str) -> FarAnswer:
    """Run a command if this version of the far relay is installed. Raise _AbsentError, FarError."""
    return await _run(control_path, check_script() + script, token)


async def _run(control_path: str, script: str, token: str) -> FarAnswer:
    near, far = os.pipe()
    try:
        os.write(far, f"{token}\n".encode())  # the pipe is empty, so this does not block
        os.close(far)
        lines = await run_script.run(control_path, script, stdin=near)
    finally:
        os.close(near)
    if lines is None:
        raise FarError("no-shell")
    if NO_PYTHON in lines:
        raise FarError("no-python")
    if _NO_SCOPE in lines:
        raise FarError("no-scope")
    if ABSENT in lines:
        raise _AbsentError
    return _answer(lines)


def _answer(lines: list[str]) -> FarAnswer:
    """Return the answer after the marker in these lines. Raise FarError if there is none, or if it is an error."""
    said = next((line.partition(f"{MARKER} ")[2] for line in lines if f"{MARKER} " in line), "")
    try:
        words = json.loads(said)
        found = FarAnswer(str(words["machine"])[:100], str(words["boot"])[:100], words)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FarError("no-answer") from None
    if "error" in words:
        raise FarError(str(words["error"])[:60], str(words.get("text", ""))[:200], found.machine)
    return found
