"""A laboratory on one machine: laptop, three networks, VPN and real ssh servers, without root."""

from __future__ import annotations

from trayagent.sandbox.lab import Lab
from trayagent.sandbox.node import Node
from trayagent.sandbox.probe import Probe
from trayagent.sandbox.sshd import Sshd

__all__ = ["Lab", "Node", "Probe", "Sshd"]
