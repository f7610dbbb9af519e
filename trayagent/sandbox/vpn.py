"""The VPN: `tun0` in the laptop, carried in UDP to the server, with the internal network behind it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from trayagent.errors import TrayagentError
from trayagent.sandbox import network_map as plan
from trayagent.sandbox.inside_program import Program
from trayagent.sandbox.node import Node

FIRST_LEASE = 2


class Vpn:
    """Both ends of the tunnel. The server's end starts at the first `up` and then keeps running."""

    def __init__(self, laptop: Node, server: Node) -> None:
        self._laptop = laptop
        self._server = server
        self._far: Program | None = None
        self._near: Program | None = None
        self._leases = iter(list(ip_network(plan.VPN_NET).hosts())[FIRST_LEASE - 1 :])
        self.address: str | None = None

    def up(self, address: str | None, routes: Sequence[str]) -> tuple[str, float]:
        """Bring `tun0` up; return its address and the monotonic time when its routes were in place.

        The address is a new one each time, unless given. Raises TrayagentError (tun-missing) where /dev/net/tun
        cannot be used.
        """
        if self._near:
            raise TrayagentError("the sandbox's VPN is up already", code="sandbox-usage")
        far = self._far_end()
        lease = address or str(next(self._leases))
        near = _tunnel(self._laptop, "client")
        try:
            far.ask({"client": lease, "drop": False})
            at = self._laptop.ip(
                f"addr add {lease}/24 dev tun0",
                "link set tun0 mtu 1400 up",
                *(f"route add {prefix} dev tun0 src {lease}" for prefix in routes),
            )
        except BaseException:
            near.end()
            raise
        self._near, self.address = near, lease
        return lease, at

    def down(self) -> None:
        """Remove the tunnel: the device, its address and its routes disappear at the same moment."""
        if self._near:
            self._near.end()
            self._near = self.address = None

    def stall(self, on: bool) -> None:
        """Make the server's end silent (or let it answer again) while device, address and routes stay."""
        self._far_end().ask({"drop": on})

    def _far_end(self) -> Program:
        if self._far is None:
            far = _tunnel(self._server, "server")
            self._server.ip(
                f"addr add {next(ip_network(plan.VPN_NET).hosts())}/24 dev tun0", "link set tun0 mtu 1400 up"
            )
            self._far = far
        return self._far


def _tunnel(node: Node, role: str) -> Program:
    program = Program(node, "vpn_tunnel", role, plan.VPN_SERVER, str(plan.VPN_PORT), admin=True)
    if "error" in program.first:
        program.end()
        raise TrayagentError(
            f"the sandbox's VPN needs /dev/net/tun: {program.first['error']}",
            code="tun-missing",
            hint="Allow it: sudo modprobe tun; sudo chmod 0666 /dev/net/tun. The rest works without.",
        )
    return program
