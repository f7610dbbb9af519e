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
else:
    from trayagent.ssh.os.linux_tcp_connection import QUERY_INTERVAL_S, flow_of, forget_list, tcp_facts
    from trayagent.ssh.os.linux_transport import transport_of

__all__ = ["QUERY_INTERVAL_S", "Flow", "TcpFacts", "flow_of", "forget_list", "tcp_facts", "transport_of"]
