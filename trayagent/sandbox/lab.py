"""The laboratory as tests use it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from trayagent.sandbox import firewall, other_users, ssh_config_of_laptop
from trayagent.sandbox import lay_links as build
from trayagent.sandbox import network_map as plan
from trayagent.sandbox.delay_lines import DelayLines
from trayagent.sandbox.forward_stopwatch import Probe
from trayagent.sandbox.inside_program import Program
from trayagent.sandbox.lab_files import Files
from trayagent.sandbox.lab_tools import tool
from trayagent.sandbox.laptop_networks import LaptopNetworks
from trayagent.sandbox.liar import Liar
from trayagent.sandbox.name_server import NameServer
from trayagent.sandbox.namespaces import World
from trayagent.sandbox.node import Node
from trayagent.sandbox.sshd import Sshd
from trayagent.sandbox.traffic import Direction, Traffic
from trayagent.sandbox.vpn import Vpn


class Lab:
    """A laptop, the networks `home`, `cafe` and `office`, an internet and a server, in namespaces.

    `rtt_ms` is the round-trip time between any network and the server. With `nat` the gateways translate
    addresses (`office` needs that, because it has the same addresses as `home`). With `ipv6` everything
    outside the VPN also has IPv6 addresses. Those of the laptop are tentative at first, as on a real LAN.
    `ssh` is the path of the laptop's ssh program, by default the machine's ssh. Its folder comes first in the
    laptop's PATH.

    Use it as a context manager: `with Lab() as lab`. Leaving it ends every process in the namespaces, also
    after an exception. If the process that uses the laboratory is killed, the holder does the same. Raises
    TrayagentError: tool-missing, sandbox-forbidden (no right to create namespaces), tun-missing (VPN only),
    sandbox-usage, sandbox-broken.
    """

    def __init__(
        self, *, rtt_ms: float = 0.0, nat: bool = True, ipv6: bool = False, ssh: str | None = None
    ) -> None:
        for name in ("ip", "nsenter", "ssh-keygen", *(["nft"] if nat else [])):
            tool(name)
        self.ssh = ssh or tool("ssh")
        self.files = Files()
        mounts = {"laptop": self.files.laptop_mounts(), "server": self.files.far_mounts()}
        settings = {name: plan.sysctls(name, ipv6=ipv6) for name in plan.NODES}
        self._world = World(self.files.root, self.files.write, settings, mounts)
        try:
            self._wire(rtt_ms=rtt_ms, nat=nat, ipv6=ipv6)
        except BaseException:
            self.close()
            raise

    def _wire(self, *, rtt_ms: float, nat: bool, ipv6: bool) -> None:
        far_env = self.files.far_env()
        self.nodes = {name: Node(name, self._world, "server", far_env) for name in plan.NODES}
        self.laptop = self.nodes["laptop"] = Node("laptop", self._world, "laptop", self._laptop_env())
        self.server = self.nodes["server"]
        build.lay(self.nodes, nat=nat, ipv6=ipv6)
        self._lines = DelayLines(self.nodes)
        self.set_rtt(rtt_ms)
        if nat:
            for network in plan.NETWORKS:
                self.set_gateway(network, nat=True)
        self._networks = LaptopNetworks(self.laptop, self.nodes["air"], ipv6=ipv6)
        self._vpn = Vpn(self.laptop, self.server)
        self.servers: list[Sshd] = []

    def _laptop_env(self) -> dict[str, str]:
        env = self.files.laptop_env()
        return env if self.ssh == tool("ssh") else {**env, "PATH": f"{Path(self.ssh).parent}:{env['PATH']}"}

    @property
    def networks(self) -> frozenset[tuple[int, int]]:
        """The device and inode of each network namespace. After `close` no process may be in any of them."""
        return self._world.networks

    @property
    def guardian_pid(self) -> int:
        """The pid of the process that holds the namespaces and cleans up after this process."""
        return self._world.pid

    @property
    def delay_line_pid(self) -> int:
        """The pid of the process that carries the frames."""
        return self._lines.pid

    # -- the network outside the laptop -------------------------------------------------------------

    def set_rtt(self, rtt_ms: float, network: str | None = None) -> None:
        """Set the round-trip time to the server, from one network or from all."""
        self._lines.ask(network, rtt_ms=rtt_ms)

    def set_bandwidth(
        self, mbit_s: float | None, network: str | None = None, *, queue_bytes: int | None = None
    ) -> None:
        """Limit the rate of each direction of a line (or all), and the queue in front of it; None removes the limit."""
        self._lines.set_bandwidth(mbit_s, network, queue_bytes)

    def swallow_above(self, size: int | None, network: str | None = None) -> None:
        """Make a line (or all lines) silently drop IP packets above a size in bytes; None removes the limit."""
        self._lines.set_largest(size, network)

    def set_loss(self, share: float, network: str | None = None) -> None:
        """Make a line (or all lines) lose a share of its frames, the same ones in each run."""
        self._lines.ask(network, loss=share)

    def blackhole(self, on: bool, network: str | None = None) -> None:
        """Silently drop every packet beyond the gateways, or carry packets again."""
        self._lines.ask(network, drop=on)

    def carried(self) -> dict[str, dict[str, int]]:
        """Return the counters of each network's frames.

        The counters are `carried`, `dropped` (by order), `overflowed` (the queue was full), `swallowed` (too
        large) and `lost` (by accident). `queued_up` and `queued_down` are the bytes that are queued now.
        """
        return self._lines.ask()

    def set_gateway(self, network: str, *, nat: bool, silent: bool = False) -> None:
        """Configure a gateway: address translation, and whether it silently drops packets of unknown connections."""
        firewall.set_firewall(self.nodes[network], plan.NETWORKS[network], nat=nat, silent=silent)

    def set_mptcp_box(self, network: str, box: firewall.MptcpBox) -> None:
        """Make a gateway pass or drop Multipath TCP, or remove its option, and count its packets from the LAN."""
        firewall.set_mptcp_box(self.nodes[network], box)

    def mptcp_packets(self, network: str) -> int:
        """Return how many packets of Multipath TCP came from a network's LAN since `set_mptcp_box`."""
        return firewall.mptcp_packets(self.nodes[network])

    def lose_connection(self, network: str, port: int) -> None:
        """Make a gateway silently drop the packets of the TCP connection from this port of the laptop."""
        firewall.lose_connection(self.nodes[network], port)

    def liar(self, network: str, *, address: str = plan.SERVER, port: int = 22) -> Liar:
        """Make a network's gateway impersonate a server, as a hostile café can.

        Each network can have one such gateway.
        """
        return Liar(self.nodes[network], plan.NETWORKS[network], self.files, address, port)

    def set_mptcp(self, on: bool) -> None:
        """Make each new address of the laptop an MPTCP endpoint, as NetworkManager does."""
        self._networks.endpoints = on

    # -- the laptop moves ---------------------------------------------------------------------------

    def join(
        self, network: str, *, interface: str = "wlan0", address: str | None = None, metric: int | None = None
    ) -> float:
        """Join a network; return t0, the monotonic time in seconds when address and route were in place.

        A second interface, `eth0`, can join the same network as `wlan0` or another one. Its default route
        wins unless `metric` changes that (by default 600 for `wlan0`, 100 for `eth0`).
        """
        return self._networks.join(network, interface, address=address, metric=metric)

    def plug(self, network: str, *, interface: str = "wlan0") -> None:
        """Plug into a network like `join`, without address or route, because a program in the laptop sets them."""
        self._networks.plug(network, interface)

    def leave(self, network: str) -> float:
        """Leave a network with every interface that is in it. Return the time when addresses and routes were gone."""
        for interface in self._networks.interfaces_in(network):
            self._networks.leave(interface)
        return time.monotonic()

    def switch(self, old: str, new: str, *, gap_s: float = 0.0, interface: str = "wlan0") -> float:
        """Go from one network to another; return t0. `gap` is the time without a network in between."""
        if gap_s > 0:
            self.leave(old)
            time.sleep(gap_s)
        return self.join(new, interface=interface)

    def link_down(self, interface: str = "wlan0") -> float:
        """Take the carrier away. Addresses and routes stay, because the kernel keeps them."""
        return self._networks.carrier(interface, on=False)

    def link_up(self, interface: str = "wlan0") -> float:
        """Bring the carrier back."""
        return self._networks.carrier(interface, on=True)

    def flap(self, times: int, *, interface: str = "wlan0", period_s: float = 0.1) -> float:
        """Lose and regain the carrier `times` times. Return the time when it was back after the last loss."""
        return self._networks.flap(interface, times, period_s)

    def suspend(self, pids: Iterable[int] | None = None) -> None:
        """Stop processes of the laptop, all of them by default, as sleep does."""
        self.laptop.signal(signal.SIGSTOP, pids)

    def resume(self, pids: Iterable[int] | None = None) -> None:
        """Continue stopped processes."""
        self.laptop.signal(signal.SIGCONT, pids)

    # -- the VPN ------------------------------------------------------------------------------------

    def vpn_up(
        self, address: str | None = None, routes: Sequence[str] = (plan.INTERNAL_NET,)
    ) -> tuple[str, float]:
        """Bring `tun0` up with those routes; return its address (a new one each time) and t0."""
        return self._vpn.up(address, routes)

    def vpn_down(self) -> None:
        """Remove `tun0`."""
        self._vpn.down()

    def vpn_stall(self, on: bool) -> None:
        """Make the VPN's server silent while `tun0`, its address and routes stay, or make it answer again."""
        self._vpn.stall(on)

    # -- other users and programs -------------------------------------------------------------------

    def other_user(self, uid: int = 61_234) -> Node:
        """Return a node that acts as another user of the laptop, who has no home. Requires root."""
        return other_users.other_user(self.laptop, uid)

    def container(self, *, network: str | None = "office", mounts: bool = True) -> Node:
        """Return a node that acts as a container of the laptop's user. The container shares the home folder.

        The container is on `network`, independent of the laptop's network. If `network` is None, it is in the
        laptop's network namespace. With `mounts`, each command has its own mount namespace.
        """
        return other_users.container(self.laptop, network, mounts=mounts)

    def hostile_mux(
        self,
        path: str,
        how: other_users.Manner,
        *,
        pid: int = 1,
        ambush: bool = False,
        node: Node | None = None,
    ) -> Program:
        """Start a program that listens like an ssh master and gives invalid answers; `first` has its path.

        `how`: "claims" to be the process `pid`; "silent" never answers; "endless" floods the client; "huge"
        announces a packet of 4 GB; "agrees" to everything. With `ambush` it waits for each ssh whose control
        path is `path` or begins with `path`, and listens there first.
        """
        return other_users.hostile_mux(node or self.laptop, path, how, pid=pid, ambush=ambush)

    # -- services -----------------------------------------------------------------------------------

    def sshd(
        self,
        address: str = plan.SERVER,
        port: int = 22,
        *,
        config: Sequence[str] = (),
        node: Node | None = None,
        mptcp: bool = False,
        program: str | None = None,
    ) -> Sshd:
        """Start an ssh server, by default on the node `server`, and add its host key to the user's known_hosts."""
        server = Sshd(node or self.server, self.files, address, port, config, mptcp=mptcp, program=program)
        self.servers.append(server)
        server.start()
        names = [plan.HOSTS[address]] if port == 22 and address in plan.HOSTS else []
        ssh_config_of_laptop.make_known(self.files, server, *names)
        return server

    def ssh_config(
        self, hosts: Mapping[str, ssh_config_of_laptop.Options], **everywhere: str | int | list[str]
    ) -> Path:
        """Write the laptop user's ~/.ssh/config. `everywhere` contains options for all hosts."""
        return ssh_config_of_laptop.write_config(self.files, hosts, everywhere)

    def name_server(self, names: Mapping[str, str]) -> NameServer:
        """Start the name server of the internet with these names and their addresses. It records each query."""
        return NameServer(self.server, names)

    def echo(self, port: int = 8000, address: str = "127.0.0.1", *, node: Node | None = None) -> Program:
        """Start a TCP service that echoes and answers HTTP, by default on the server for local forwards."""
        return Program(node or self.server, "echo", address, str(port))

    def traffic(
        self, direction: Direction, host: str | None = None, *, port: int = 0, node: Node | None = None
    ) -> Traffic:
        """Start an upload or a download: in a session to `host`, or through the forward on `port`."""
        node = node or self.laptop
        return (
            Traffic.in_session(node, direction, host) if host else Traffic.in_forward(node, direction, port)
        )

    def traffic_service(
        self, port: int = 8001, address: str = "127.0.0.1", *, node: Node | None = None
    ) -> Program:
        """Start the other end of `traffic` through forwards, by default in the server."""
        return Program(node or self.server, "traffic", "service", address, str(port))

    def probe(self, port: int, *, node: Node | None = None) -> Probe:
        """Return a stopwatch for a forward that listens on that port, by default on the laptop."""
        return Probe(node or self.laptop, port)

    # -- closing ------------------------------------------------------------------------------------

    def close(self) -> None:
        """End everything and remove all traces."""
        self._world.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
