"""A gateway that impersonates a server, as a hostile café can without the server's key."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from trayagent.errors import TrayagentError
from trayagent.sandbox import firewall
from trayagent.sandbox import network_map as plan
from trayagent.sandbox.inside_program import Program
from trayagent.sandbox.lab_files import Files, keygen
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.node import Node
from trayagent.sandbox.sshd import Sshd

OWN_PORT = 2201
SSHD_PORT = 2202


class Liar:
    """The gateway of one network while it impersonates a server at one address and port.

    New TCP connections to that port end at the gateway. The gateway drops all other packets to the address.
    The gateway is silent until a method selects its behaviour. A method may be called at any time and applies
    to later connections.
    """

    def __init__(self, gateway: Node, network: plan.Network, files: Files, address: str, port: int) -> None:
        self._gateway = gateway
        self._network = network
        self._files = files
        self._address = address
        self._port = port
        everywhere = "::" if ":" in address else "0.0.0.0"  # noqa: S104 - within the laboratory
        self._program = Program(gateway, "liar", everywhere, str(OWN_PORT))
        if "error" in self._program.first:
            raise TrayagentError(f"the liar: {self._program.first['error']}", code="sandbox-broken")
        self.server: Sshd | None = None
        self._answer_at(OWN_PORT)

    @property
    def visits(self) -> int:
        """The number of TCP connections that the gateway accepted, except those to its own ssh server."""
        return int(self._program.ask({})["visits"])

    def disconnects(self, text: str, *, prelude: Sequence[str] = (), debug: Sequence[str] = ()) -> None:
        """Send an unencrypted SSH_MSG_DISCONNECT before key exchange. `text` may contain newlines.

        `prelude` contains lines to send before the banner. `debug` contains texts of debug messages to send
        before the disconnect.
        """
        self._play("disconnect", text=text, prelude=list(prelude), debug=list(debug))

    def closes(self, *, reset: bool = False) -> None:
        """Accept the connection and close it immediately."""
        self._play("close", reset=reset)

    def is_silent(self) -> None:
        """Accept the connection and send nothing."""
        self._play("keep_silent")

    def stalls(self) -> None:
        """Send an SSH banner and nothing more."""
        self._play("stall")

    def is_tarpit(self) -> None:
        """Send lines before the banner forever, and never a banner."""
        self._play("tarpit")

    def sends_banner(self, size: int = 100_000) -> None:
        """Send a banner of that size in bytes."""
        self._play("long_banner", size=size)

    def pretends(self, config: Sequence[str] = ()) -> Sshd:
        """Run a real sshd with another host key that accepts the laboratory's user; known_hosts stays unchanged.

        `config` contains sshd_config lines that take precedence. For example, `AuthorizedKeysFile none`
        refuses every login.
        """
        if self.server is None:
            place = self._network
            address = f"{place.subnet_6}1" if ":" in self._address else place.gateway
            self.server = Sshd(self._gateway, self._files, address, SSHD_PORT, config)
            self.server.start()
        else:
            self.server.restart(config)
        self._answer_at(SSHD_PORT)
        return self.server

    def certifies(self, host_key: str, key_id: str) -> None:
        """Send a host certificate for the server's public key ("TYPE BASE64"), signed by the gateway's own CA.

        ssh logs the key ID, which may contain newlines, before it checks the certificate. The gateway does
        not have the private key, so it cannot complete the key exchange.
        """
        with TemporaryDirectory(prefix="lab-") as folder:
            ca, key = Path(folder) / "ca", Path(folder) / "host"
            keygen(ca)
            key.with_suffix(".pub").write_text(f"{host_key}\n")
            words = [tool("ssh-keygen"), "-q", "-s", str(ca), "-I", key_id, "-h", "-n", "any"]
            subprocess.run([*words, str(key.with_suffix(".pub"))], check=True, capture_output=True)
            algorithm, blob = Path(f"{key}-cert.pub").read_text().split()[:2]
        self._play("certificate", blob=blob, algorithm=algorithm)

    def relays(self, limit: int | None = None) -> None:
        """Relay connections to the real server, and discard the server's data after the first `limit` bytes."""
        self._play("relay", address=self._address, port=self._port, limit=limit)

    @property
    def relayed(self) -> list[int]:
        """How many bytes the server sent in each relayed connection that has ended."""
        return [int(sent) for sent in self._program.ask({})["relayed"]]

    def is_honest(self) -> None:
        """Pass everything through to the real server again."""
        self._answer_at(None)

    def _play(self, trick: str, **arguments: object) -> None:
        self._program.ask({"trick": trick, **arguments})
        self._answer_at(OWN_PORT)

    def _answer_at(self, own_port: int | None) -> None:
        firewall.load(self._gateway, firewall.lie(self._address, self._port, own_port))
