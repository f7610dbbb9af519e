"""Find out with lsof(8) whether datagrams may carry an ssh process."""

from __future__ import annotations

from collections.abc import Iterable

from trayagent.ssh.os import macos_lsof
from trayagent.ssh.os.macos_tcp_connection import flow_of, transport_of
from trayagent.ssh.os.name_servers import is_name_server


def may_use_datagrams(pid: int, carrier: int | None = None) -> bool:
    """Report whether the transport of a process, or of the master that carries it, holds a UDP socket.

    A socket that is connected to a name server does not count.
    """
    if holds_datagrams(one.pid for one in transport_of(pid)):
        return True
    if carrier is None:
        return False
    flow = flow_of(carrier)
    return may_use_datagrams(carrier, flow.carrier_pid if flow is not None else None)


def holds_datagrams(pids: Iterable[int]) -> bool:
    """Report whether one of these processes holds a UDP socket that is not connected to a name server."""
    files = macos_lsof.of_processes(pids)
    return any(one.protocol == "UDP" and not _resolves_names(one.name) for one in files)


def _resolves_names(name: str) -> bool:
    """Report whether a socket ("LOCAL:PORT->PEER:PORT") is connected to a name server of this machine."""
    address, _, port = name.rpartition("->")[2].rpartition(":")
    return "->" in name and port.isdigit() and is_name_server(address, int(port))
