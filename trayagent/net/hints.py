"""What a watcher says: that something happened, never what the network is like now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from trayagent.core.facts.network import Touched
from trayagent.core.facts.network_manager import ManagerFacts


@dataclass(frozen=True, slots=True)
class NetworkTouched:
    """The network changed or flickered: read the whole snapshot again.

    `touched` is empty where something only appeared or changed its state.
    """

    touched: Touched


@dataclass(frozen=True, slots=True)
class AboutToSleep:
    """The machine will be suspended within seconds."""


@dataclass(frozen=True, slots=True)
class Woke:
    """The machine ran again after a suspend; `asleep_s` is None where nobody measured it.

    Two watchers may see one wake: the second is no second sleep.
    """

    asleep_s: float | None


@dataclass(frozen=True, slots=True)
class NetworkManagerSaid:
    """NetworkManager's whole picture is another one than before.

    The one hint that carries facts: they come in signals, and some (why a VPN ended) cannot be read later.
    """

    facts: ManagerFacts


Hint = NetworkTouched | AboutToSleep | Woke | NetworkManagerSaid


class HintSource(Protocol):
    """A watcher. `start` is called inside the running event loop, and so is each hint.

    `close` may be called at any time, also twice, and after it no hint comes.
    """

    def start(self, hint: Callable[[Hint], None]) -> None:
        """Begin to watch; raises OSError or NetlinkError when that is impossible."""

    def close(self) -> None:
        """Stop watching and give back what was opened."""
