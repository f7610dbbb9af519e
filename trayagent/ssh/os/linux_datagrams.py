"""Find out from the kernel's list of UDP sockets whether datagrams may carry an ssh process.

Source: proc_pid_net(5). Unlike sock_diag, these files need no kernel module.
"""

from __future__ import annotations

import contextlib
import sys
from ipaddress import ip_address
from pathlib import Path

from trayagent.ssh.os.linux_process import socket_inodes
from trayagent.ssh.os.linux_tcp_connection import flow_of
from trayagent.ssh.os.linux_transport import transport_of
from trayagent.ssh.os.name_servers import is_name_server

_LISTS = (Path("/proc/net/udp"), Path("/proc/net/udp6"))  # the second is missing if IPv6 is off
_PEER, _INODE = 2, 9  # the columns


def may_use_datagrams(pid: int, carrier: int | None = None) -> bool:
    """Report whether the transport of a process, or of the master that carries it, holds a UDP socket.

    A socket that is connected to a name server of this machine does not count. Raise NetlinkError.
    """
    held = {inode for one in transport_of(pid) for inode in socket_inodes(one.pid)}
    if held and held & _udp_inodes():
        return True
    if carrier is None:
        return False
    flow = flow_of(carrier)
    return may_use_datagrams(carrier, flow.carrier_pid if flow is not None else None)


def _udp_inodes() -> set[int]:
    """Return the inodes of all UDP sockets that have a port, except those that are connected to a name server."""
    found: set[int] = set()
    for path in _LISTS:
        with contextlib.suppress(OSError):
            for line in path.read_text().splitlines()[1:]:
                words = line.split()
                if not is_name_server(*_end(words[_PEER])):
                    found.add(int(words[_INODE]))
    return found


def _end(text: str) -> tuple[str, int]:
    """Return the address and port of an end. The kernel prints an address as numbers of 32 bits."""
    address, _, port = text.rpartition(":")
    words = (int(address[at : at + 8], 16) for at in range(0, len(address), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return str(ip_address(packed)), int(port, 16)
