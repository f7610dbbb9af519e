"""The internet's name server, which records every query."""

from __future__ import annotations

from collections.abc import Mapping

from trayagent.errors import TrayagentError
from trayagent.sandbox import network_map as plan
from trayagent.sandbox.inside_program import Program
from trayagent.sandbox.node import Node


class NameServer:
    """The only name server that the laptop uses. Without it, only names in /etc/hosts have an address."""

    def __init__(self, node: Node, names: Mapping[str, str]) -> None:
        self._program = Program(node, "name_server", plan.NAME_SERVER, admin=True)
        if "error" in self._program.first:
            raise TrayagentError(f"name server: {self._program.first['error']}", code="sandbox-broken")
        self.knows(names)

    def knows(self, names: Mapping[str, str]) -> None:
        """Replace the table of names and their IPv4 addresses."""
        self._program.ask({"names": dict(names)})

    @property
    def asked(self) -> list[str]:
        """All queried names, in order. A name appears once for each queried type of record."""
        found: list[str] = self._program.ask({})["asked"]
        return found
