"""Find the control paths that a user's masters listen on, and their owners, without the kernel's list of sockets.

lsof(8) prints the name that a master bound, `ControlPath.<16 random>`, but not the path of the file after a rename. So
this module connects to a path to find the process that listens there. A master sends its pid in the mux protocol. For
any other process, and for a suspended master, the pid comes from LOCAL_PEERPID (unix(4)).
"""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

from trayagent.errors import TrayagentError
from trayagent.ssh.mux.answers import Alive
from trayagent.ssh.mux.message_order import Connection, Ended
from trayagent.ssh.mux.messages import Hello
from trayagent.ssh.mux.peer_uid import peer_uid
from trayagent.ssh.mux.requests import AliveCheck
from trayagent.ssh.new_control_path import home_of
from trayagent.ssh.os import macos_lsof
from trayagent.ssh.os.macos_process import ssh_processes
from trayagent.ssh.os.types import ControlSocket, Process

_BIND_NAME = re.compile(r"(/.+)\.[0-9A-Za-z]{16}", re.DOTALL)
_ANSWER_S = 0.2  # a master answers in 0.1 ms; a suspended one never
_GUESS_S = 0.02  # the directory may have many other sockets, of which few answer
_READ_BYTES = 4096
_SOL_LOCAL, _LOCAL_PEERPID = 0, 2  # sys/un.h


def listening(uid: int) -> list[ControlSocket]:
    """Return the control sockets on which ssh processes of a user listen."""
    processes = {process.pid: process for process in ssh_processes(uid)}
    bound: dict[str, tuple[int, str]] = {}
    for file in macos_lsof.of_processes(sorted(processes)):
        name = bind_name_of(file)
        if name is None:
            continue
        other = bound.get(name)
        # If two processes hold the socket (during a fork), the younger process is the master.
        if other is None or _started(processes[other[0]]) <= _started(processes[file.pid]):
            bound[name] = (file.pid, file.device)
    return [_control_socket(name, pid, device) for name, (pid, device) in bound.items()]


def bind_name_of(file: macos_lsof.File) -> str | None:
    """Return the name that a master bound a socket to, None for any other descriptor."""
    name = file.name.partition(" type=")[0]  # on Linux, lsof adds the type to the name
    return name if file.kind == "unix" and _BIND_NAME.fullmatch(name) else None


def bound_by_master(path: str) -> bool:
    """Return False: after a rename of the file, lsof does not show to which name the socket was bound."""
    del path
    return False


def clients_of(path: str) -> int | None:
    """Return None: lsof does not show which connections a master accepted at `path`."""
    del path
    return None


def owner_of(path: str, wait_s: float = _ANSWER_S, *, likely: int | None = None) -> int | None:
    """Return the pid of the process that listens on the file at `path` now, or None.

    The program need not be ssh. A master gets `wait_s` seconds to answer. `likely` is not needed here.
    """
    del likely  # not needed, because the listener itself answers
    if Path(path).is_symlink() or not Path(path).is_socket():
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(wait_s)
        try:
            sock.connect(path)
        except OSError:
            return None
        if peer_uid(sock) not in {None, os.getuid()}:
            return None
        return _by_its_word(sock) or _by_the_kernel(sock)


def _by_its_word(sock: socket.socket) -> int | None:
    """Return the pid that a master sends, or None. Send nothing to a listener that does not greet as a master does."""
    connection = Connection()
    greeting = connection.send(Hello())
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, Hello):
                sock.sendall(greeting + connection.send(AliveCheck(1)))
            elif isinstance(event, Alive):
                return event.number
            elif isinstance(event, Ended):
                return None
            elif event is None:
                connection.receive_data(sock.recv(_READ_BYTES))
    except (OSError, TrayagentError):
        return None


def _by_the_kernel(sock: socket.socket) -> int | None:
    if sys.platform != "darwin":
        return None
    try:
        return int.from_bytes(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4), sys.byteorder) or None
    except OSError:
        return None


def _started(process: Process) -> tuple[int, int]:
    return process.start_ticks, process.pid


def _control_socket(name: str, pid: int, device: str) -> ControlSocket:
    stem = name[: -len(".") - 16]
    path = _where(stem, pid)
    inode = int(device, 16) if device.startswith("0x") else 0
    return ControlSocket(name, stem, path or stem, inode, pid, present=path is not None)


def _where(stem: str, pid: int) -> str | None:
    """Return the path where the master answers: its original name, or its new name in the same directory."""
    if owner_of(stem) == pid:
        return stem
    try:
        with os.scandir(home_of(stem)) as entries:
            others = [entry.path for entry in entries if entry.path != stem and not entry.is_symlink()]
    except OSError:
        return None
    return next((path for path in others if owner_of(path, _GUESS_S) == pid), None)
