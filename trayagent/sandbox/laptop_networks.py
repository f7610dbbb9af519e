"""The interfaces of the laptop, and the network of each interface."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

from trayagent.errors import TrayagentError
from trayagent.sandbox import network_map as plan
from trayagent.sandbox.node import Node


@dataclass(frozen=True, slots=True)
class Stay:
    """An interface's stay in a network. `endpoint` is the number of its address as an MPTCP endpoint."""

    network: plan.Network
    address: str
    endpoint: int | None = None


class LaptopNetworks:
    """Plugs the laptop's interfaces into networks (in `air`) and sets their addresses (in the laptop)."""

    def __init__(self, laptop: Node, air: Node, *, ipv6: bool) -> None:
        self._laptop = laptop
        self._air = air
        self._ipv6 = ipv6
        self.stays: dict[str, Stay] = {}
        self.endpoints = False  # whether addresses become MPTCP endpoints, see ip-mptcp(8)
        self._ids = itertools.cycle(range(1, 256))

    def join(
        self, network: str, interface: str, *, address: str | None = None, metric: int | None = None
    ) -> float:
        """Plug in, and set address and default route; return the monotonic time when they were in place.

        The interface leaves its previous network at the same moment.
        """
        place = plan.NETWORKS.get(network)
        if place is None:
            known = ", ".join(plan.NETWORKS)
            raise TrayagentError(f"no network {network!r}", code="sandbox-usage", hint=f"Known: {known}")
        stay = Stay(place, address or place.laptop, next(self._ids) if self.endpoints else None)
        lines = self._flushed(interface, self.stays.get(interface))
        self.plug(network, interface)
        self.stays[interface] = stay
        metric = plan.METRICS.get(interface, 100) if metric is None else metric
        lines += [
            f"addr add {stay.address}/{place.prefix_len} dev {interface} noprefixroute",
            f"route add {place.subnet} dev {interface} src {stay.address} metric {metric}",
            f"route add default via {place.gateway} dev {interface} src {stay.address} metric {metric}",
        ]
        if self._ipv6:
            host = stay.address.rpartition(".")[2]
            lines += [
                f"addr add {place.subnet_6}{host}/64 dev {interface}",
                f"route add default via {place.subnet_6}1 dev {interface} metric {metric}",
            ]
        if stay.endpoint is not None:
            lines.append(f"mptcp endpoint add {stay.address} dev {interface} id {stay.endpoint} subflow")
        return self._laptop.ip(*lines)

    def plug(self, network: str, interface: str) -> None:
        """Plug in without address or route; a program in the laptop configures those."""
        self._air.ip(
            f"link set air-{interface} down",
            f"link set air-{interface} master br-{network}",
            f"link set air-{interface} up",
        )

    def leave(self, interface: str) -> float:
        """Remove carrier, addresses and routes. Return the monotonic time when they were gone."""
        stay = self.stays.pop(interface, None)
        self._air.ip(f"link set air-{interface} down", f"link set air-{interface} nomaster")
        return self._laptop.ip(*self._flushed(interface, stay), f"route flush dev {interface}")

    def _flushed(self, interface: str, stay: Stay | None) -> list[str]:
        """Return the commands that remove a stay's addresses, and with them its routes."""
        if stay is None:
            return []
        lines = [f"addr flush dev {interface} scope global"]
        if self._ipv6:
            # An IPv6 route needs no source address, so the route outlives all addresses.
            lines.append(f"route del default via {stay.network.subnet_6}1 dev {interface}")
        if stay.endpoint is not None:
            lines.append(f"mptcp endpoint delete id {stay.endpoint}")
        return lines

    def carrier(self, interface: str, *, on: bool) -> float:
        """Take the carrier away or bring it back. Return the monotonic time when that was done. The addresses stay."""
        return self._air.ip(f"link set air-{interface} {'up' if on else 'down'}")

    def flap(self, interface: str, times: int, period_s: float) -> float:
        """Lose and regain the carrier `times` times, each for half of `period_s`.

        Return the time of the last regain.
        """
        last = time.monotonic()
        for _ in range(times):
            self.carrier(interface, on=False)
            time.sleep(period_s / 2)
            last = self.carrier(interface, on=True)
            time.sleep(period_s / 2)
        return last

    def interfaces_in(self, network: str) -> list[str]:
        """Return the interfaces that are in a network."""
        return [name for name, stay in self.stays.items() if stay.network.name == network]
