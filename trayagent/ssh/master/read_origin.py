"""Read how a living master was made, from the command lines of its process, its transport and its clients."""

from __future__ import annotations

import os

from trayagent.core.facts.master_origin import MasterOrigin
from trayagent.errors import TrayagentError
from trayagent.ssh.command_line import host_of, jump_host_of
from trayagent.ssh.os.carried import clients_of_master
from trayagent.ssh.os.process import Process, read
from trayagent.ssh.os.tcp_connection import transport_of


def read_origin(pid: int, *, direct: bool) -> MasterOrigin:
    """Return how the master with this pid was made. `direct`: it has the TCP connection to its server itself."""
    process = read(pid)
    name = host_of(process.argv) if process is not None else None
    clients = tuple(dict.fromkeys(host for one in _clients(pid) if (host := host_of(one.argv)) is not None))
    if direct:
        return MasterOrigin(name, clients, "direct")
    transport = transport_of(pid)
    jumps = (jump_host_of(one.argv) for one in transport)  # the nearest comes first
    jump = next((jump for jump in jumps if jump is not None), None)
    return MasterOrigin(name, clients, "proxy" if transport else None, jump)


def _clients(pid: int) -> list[Process]:
    try:
        return clients_of_master(pid, os.getuid())
    except TrayagentError:
        return []
