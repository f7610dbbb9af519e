"""Watches the network for the agent: turns hints of a change into events, and reads the network's state."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from msgspec.structs import replace

from trayagent.agent.event_loop import Shell
from trayagent.core.facts.events import ManagerReported, Woke
from trayagent.core.facts.network import Lookup, Snapshot, Touched
from trayagent.core.facts.network_manager import NetworkName
from trayagent.net import hints
from trayagent.net.choose_sources import Watch, choose, look, start_sources
from trayagent.ssh.os.tcp_connection import forget_list

log = logging.getLogger(__name__)

_ONE_WAKE_S = 10.0  # logind and the kernel's clock both report a wake; count it once


class NetworkWatch:
    """Watches and reads the network through the sources that this machine has."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._watch: Watch | None = None
        self._woke_at = float("-inf")
        self._name: NetworkName | None = None

    def start(self) -> None:
        """Start the watchers, and request the first reading of the network."""
        self._watch = start_sources(choose(look()), self._hint)
        for why in (*self._watch.why, *self._watch.problems):
            log.info("network: %s", why)
        self._shell.touch(Touched())

    @property
    def sources(self) -> tuple[hints.HintSource, ...]:
        """The running watchers."""
        return tuple(self._watch.sources) if self._watch is not None else ()

    def read(self, lookups: Iterable[Lookup]) -> Snapshot:
        """Return the present network with the answers to `lookups`.

        If a network manager reports the network's name, include the name.
        """
        if self._watch is None:
            raise RuntimeError("the network is read before its readers were chosen")
        snapshot = self._watch.read(lookups)
        forget_list()
        name = self._name
        return replace(snapshot, name=str(name), name_of=name.interface) if name is not None else snapshot

    def close(self) -> None:
        """Stop the watchers."""
        if self._watch is not None:
            self._watch.close()

    def _hint(self, hint: hints.Hint) -> None:
        match hint:
            case hints.NetworkTouched(touched):
                self._shell.touch(touched)
            case hints.Woke(asleep_s):
                now = time.monotonic()
                if now - self._woke_at > _ONE_WAKE_S:
                    self._woke_at = now
                    self._shell.post(Woke(now, asleep_s))
                self._shell.touch(Touched())
            case hints.NetworkManagerChanged(facts):
                self._name = facts.network
                self._shell.post(ManagerReported(time.monotonic(), facts))
                self._shell.touch(Touched())
            case hints.AboutToSleep():
                log.info("about to sleep")
