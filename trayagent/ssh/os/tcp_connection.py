"""Find the TCP connection that carries an ssh process, its state, and the processes between the two.

This uses the module for Linux or for macOS.
"""

from __future__ import annotations

import sys

from trayagent.ssh.os.types import Flow, TcpFacts

if sys.platform == "darwin":
    from trayagent.ssh.os.macos_tcp_connection import QUERY_INTERVAL_S, flow_of, tcp_facts, transport_of

    def forget_list() -> None:
        """Do nothing: each search lists all sockets."""

    def closed_from_here(
        local: tuple[str, int],  # noqa: ARG001  # same signature as on Linux
        peer: tuple[str, int],  # noqa: ARG001
        *,
        or_open: bool = False,  # noqa: ARG001
    ) -> bool:
        """Return False, because macOS does not show closed connections to other users."""
        return False
else:
    from trayagent.ssh.os.linux_tcp_connection import (
        QUERY_INTERVAL_S,
        closed_from_here,
        flow_of,
        forget_list,
        tcp_facts,
    )
    from trayagent.ssh.os.linux_transport import transport_of

__all__ = [
    "QUERY_INTERVAL_S",
    "Flow",
    "TcpFacts",
    "closed_from_here",
    "flow_of",
    "forget_list",
    "tcp_facts",
    "transport_of",
]
