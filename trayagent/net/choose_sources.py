"""Choose the watchers and the reader for this machine, and give the reasons."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from typing import Literal, Protocol

from msgspec import Struct, field

from trayagent.core.facts.network import Lookup, Snapshot
from trayagent.net.hints import Hint, HintSource
from trayagent.netlink.errors import NetlinkError

SourceName = Literal[
    "linux_netlink", "linux_logind", "linux_clock", "networkmanager", "macos_route", "polling"
]
ReaderName = Literal["linux_snapshot", "macos_snapshot", "polling"]


class Read(Protocol):
    """A reader of the whole network state."""

    def __call__(self, lookups: Iterable[Lookup] = ()) -> Snapshot:
        """Return the current network, with the answers to `lookups`."""


class Environment(Struct, frozen=True):
    """What the machine offers: `platform` is sys.platform; `netlink`: the kernel allows netlink sockets."""

    platform: str
    netlink: bool
    logind: bool
    """Whether there is a system bus, on which logind sends its signals."""


class Choice(Struct, frozen=True):
    """The chosen back ends, and the reasons in words for the user."""

    sources: tuple[SourceName, ...]
    reader: ReaderName
    why: tuple[str, ...]


class Watch(Struct):
    """Running watchers and their reader; `problems` lists what failed at the start."""

    read: Read
    sources: list[HintSource] = field(default_factory=list)
    why: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    def close(self) -> None:
        """Stop all watchers."""
        for source in self.sources:
            source.close()


def choose(env: Environment) -> Choice:
    """Return the back ends for an environment; pure."""
    if env.platform == "darwin":
        why = ["platform=darwin: the kernel's routing socket reports each change and each wake"]
        return Choice(("macos_route",), "macos_snapshot", tuple(why))
    if not env.platform.startswith("linux"):
        return Choice(
            ("polling",), "polling", (f"platform={env.platform}: no native watcher, polling instead",)
        )
    why = []
    sources: list[SourceName] = []
    if env.netlink:
        sources.append("linux_netlink")
        why.append("netlink=yes: the kernel reports each change")
    else:
        sources.append("polling")
        why.append("netlink=no: the kernel refuses the socket, polling instead")
    sources.append("linux_clock")
    why.append("clock=yes: a wake shows in the kernel's clocks")
    if env.logind:
        sources.append("linux_logind")
        sources.append("networkmanager")
        why.append("logind=yes: it announces each suspend beforehand")
        why.append("networkmanager=asked: it is on the same bus, if it runs")
    else:
        why.append("logind=no: no system bus, a suspend is detected afterwards")
    return Choice(tuple(sources), "linux_snapshot" if env.netlink else "polling", tuple(why))


def look() -> Environment:
    """Return which sources of network changes this machine offers."""
    if not sys.platform.startswith("linux"):
        return Environment(sys.platform, netlink=False, logind=False)
    from trayagent.net.linux_logind_sleep import system_bus_exists
    from trayagent.netlink.channel import NETLINK_ROUTE, works

    return Environment(sys.platform, netlink=works(NETLINK_ROUTE), logind=system_bus_exists())


def read_once() -> Snapshot:
    """Return the current network from the reader for this machine; raises NetlinkError."""
    return _reader(choose(look()).reader)()


def start_sources(choice: Choice, hint: Callable[[Hint], None]) -> Watch:
    """Start the chosen watchers on the running loop; `Watch.problems` lists those that cannot start.

    If the kernel's watcher cannot start, polling replaces it, so that changes are detected in any case.
    """
    watch = Watch(read=_reader(choice.reader), why=choice.why)
    for name in choice.sources:
        problem = _start(watch, _source(name), hint)
        if problem is None:
            continue
        watch.problems.append(f"{name}: {problem}")
        if name in {"linux_netlink", "macos_route"}:
            _start(watch, _source("polling"), hint)
    return watch


def _start(watch: Watch, source: HintSource, hint: Callable[[Hint], None]) -> str | None:
    try:
        source.start(hint)
    except (OSError, NetlinkError) as e:
        with contextlib.suppress(OSError):
            source.close()
        return str(e)
    watch.sources.append(source)
    return None


def _source(name: SourceName) -> HintSource:
    match name:
        case "linux_netlink":
            from trayagent.net.linux_netlink_changes import LinuxNetlink

            return LinuxNetlink()
        case "linux_logind":
            from trayagent.net.linux_logind_sleep import LinuxLogind

            return LinuxLogind()
        case "linux_clock":
            from trayagent.net.linux_wake_from_clock import LinuxClock

            return LinuxClock()
        case "networkmanager":
            from trayagent.net.vpn.networkmanager import NetworkManager

            return NetworkManager()
        case "macos_route":
            from trayagent.net.macos_routing_socket import MacosRoute

            return MacosRoute()
        case "polling":
            from trayagent.net.polling import Polling

            return Polling()


def _reader(name: ReaderName) -> Read:
    if name == "linux_snapshot":
        from trayagent.net import linux_snapshot

        return linux_snapshot.read
    if name == "macos_snapshot":
        from trayagent.net import macos_snapshot

        return macos_snapshot.read
    from trayagent.net import polling

    return polling.read
