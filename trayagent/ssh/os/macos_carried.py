"""Count what a master carries from lsof(8), for systems without the kernel's lists of sockets.

The rules are those of `linux_carried`. lsof prints the name of an accepted control socket, and for a socket without a
name the address of its peer. It does not show a peer that belongs to another user. A socket with such a peer counts as
a forwarded connection.
"""

from __future__ import annotations

import os

from trayagent.ssh.os import macos_lsof
from trayagent.ssh.os.macos_control_sockets import bind_name_of
from trayagent.ssh.os.macos_lsof import File
from trayagent.ssh.os.macos_process import ssh_processes
from trayagent.ssh.os.macos_tcp_connection import flow_of, number_of
from trayagent.ssh.os.types import Carried, Process

_FIRST_OWN_FD = 3
_TCP = {"IPv4", "IPv6"}
_NOT_CONNECTED = {"LISTEN", "CLOSED"}


def carried_by(pid: int) -> Carried:
    """Return what a master that no longer listens carries, without the agent's own connections to it."""
    flow = flow_of(pid)
    server = flow.inode if flow is not None and flow.pid_of_holder == pid else None
    return counted(pid, macos_lsof.of_user(os.getuid()), os.getpid(), server)


def clients_of_master(pid: int, uid: int) -> list[Process]:
    """Return the ssh processes of a user that have a session or a request on a master."""
    files = macos_lsof.of_user(uid)
    held = {f.device for f in files if f.pid == pid and f.kind == "unix" and bind_name_of(f) is not None} - {
        ""
    }
    clients = {file.pid for file in files if file.kind == "unix" and file.peer in held}
    return [process for process in ssh_processes(uid) if process.pid in clients - {pid}] if clients else []


def counted(pid: int, files: list[File], own_pid: int, server: int | None) -> Carried:
    """Count what process `pid` carries through these descriptors.

    `server` is the kernel's address of the socket that leads to the server; it is not counted.
    """
    by_device = {file.device: file for file in files if file.kind == "unix"}
    ours = {file.peer for file in files if file.pid == own_pid and file.kind == "unix"} - {""}
    sessions = connections = 0
    for file in {f.device or str(f.fd): f for f in files if _is_own(f, pid)}.values():
        if file.kind in _TCP:
            connections += number_of(file) != server
        elif bind_name_of(file) is not None:
            sessions += file.device not in ours
        elif file.peer:
            peer = by_device.get(file.peer)
            connections += (
                peer is None or not peer.peer
            )  # a pair of sockets without names belongs to a session
        else:
            connections += file.name.startswith("/")
    return Carried(sessions, connections)


def sessions_of(pid: int) -> int:
    """Return how many sessions of other programs a master carries."""
    return carried_by(pid).sessions


def _is_own(file: File, pid: int) -> bool:
    connected = file.kind in {*_TCP, "unix"} and file.state not in _NOT_CONNECTED
    return file.pid == pid and file.fd >= _FIRST_OWN_FD and connected
