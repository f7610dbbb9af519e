"""A real OpenVPN server behind the internet that requires a user name and a password."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from trayagent.errors import TrayagentError
from trayagent.sandbox import network_map as plan
from trayagent.sandbox.lab import Lab
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.namespaces import close_streams

PORT = 1194
READY_DEADLINE_S = 30.0
READY = "Initialization Sequence Completed"

CONFIG = """mode server
tls-server
dev tun
proto udp4
local {address}
port {port}
topology subnet
ifconfig 10.8.1.1 255.255.255.0
ifconfig-pool 10.8.1.2 10.8.1.200 255.255.255.0
push "topology subnet"
push "route-gateway 10.8.1.1"
push "route {internal} 255.255.255.0"
ca {folder}/cert.pem
cert {folder}/cert.pem
key {folder}/key.pem
dh none
verify-client-cert none
username-as-common-name
auth-user-pass-verify {folder}/verify via-file
script-security 2
keepalive 10 60
"""
# openvpn passes the script a file with the name in the first line and the password in the second.
VERIFY = """#!/bin/sh
[ "$(sed -n 2p "$1")" = "$(cat {folder}/password)" ]
"""


class OpenVpn:
    """An OpenVPN server for one user, with the internal network behind it.

    Raises TrayagentError: tool-missing, tun-missing, sandbox-broken.
    """

    user = "me"

    def __init__(self, lab: Lab, *, password: str) -> None:
        for name in ("openvpn", "openssl"):
            tool(name)
        self._lab = lab
        self.folder = lab.files.far / "openvpn"
        self.folder.mkdir(mode=0o700)
        self.ca = self.folder / "cert.pem"
        self.remote = f"{plan.VPN_SERVER}:{PORT}"
        self._child: subprocess.Popen[str] | None = None
        _certificate(self.folder)
        (self.folder / "server.conf").write_text(
            CONFIG.format(
                address=plan.VPN_SERVER,
                port=PORT,
                folder=self.folder,
                internal=plan.INTERNAL_NET.partition("/")[0],
            )
        )
        verify = self.folder / "verify"
        verify.write_text(VERIFY.format(folder=self.folder))
        verify.chmod(0o700)
        self.set_password(password)
        self.start()

    def set_password(self, password: str) -> None:
        """Change the password that the server accepts at the next login."""
        (self.folder / "password").write_text(password + "\n")

    def start(self) -> None:
        """Start the server, and return when it accepts connections."""
        log = self.folder / "log"
        begun = len(self.log())
        with log.open("a") as out:
            self._child = self._lab.server.popen(
                ["openvpn", "--config", str(self.folder / "server.conf")], admin=True, stdout=out, stderr=out
            )
        limit = time.monotonic() + READY_DEADLINE_S
        while READY not in (output := self.log()[begun:]):
            if self._child.poll() is not None or time.monotonic() > limit:
                last = (output.strip().splitlines() or ["no message"])[-1]
                code = "tun-missing" if "/dev/net/tun" in output else "sandbox-broken"
                raise TrayagentError(f"the OpenVPN server did not start: {last}", code=code)
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill the server, so that it cannot notify its clients."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            close_streams(self._child)
            self._child = None

    def log(self) -> str:
        """Return the server's log."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


def _certificate(folder: Path) -> None:
    """Create a key and a self-signed certificate for a TLS server."""
    words = [tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    words += ["-nodes", "-days", "2", "-subj", "/CN=lab", "-addext", "extendedKeyUsage=serverAuth"]
    words += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
