"""A laboratory on one machine: laptop, three networks, VPN and real ssh servers, without root."""

from __future__ import annotations

from trayagent.sandbox.agent import Agent
from trayagent.sandbox.agent_events import Events
from trayagent.sandbox.forward_stopwatch import Probe
from trayagent.sandbox.lab import Lab
from trayagent.sandbox.lab_tools import other_ssh_programs
from trayagent.sandbox.liar import Liar
from trayagent.sandbox.node import Node
from trayagent.sandbox.sshd import Sshd
from trayagent.sandbox.terminal import Terminal

# The codes of a TrayagentError that say that the laboratory cannot run on this machine.
UNAVAILABLE = frozenset({"tool-missing", "sandbox-forbidden", "tun-missing"})

__all__ = [
    "UNAVAILABLE",
    "Agent",
    "Events",
    "Lab",
    "Liar",
    "Node",
    "Probe",
    "Sshd",
    "Terminal",
    "other_ssh_programs",
]
