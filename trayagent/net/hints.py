"""Define the hints of the watchers: they report that something happened, not what the network is like now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from trayagent.core.facts.network import Touched
from trayagent.core.facts.network_manager import ManagerFacts


@dataclass(frozen=True, slots=True)
class NetworkTouched:
    """The network changed or flickered: read the whole state again.

    `touched` is empty if something only appeared or changed its state.
    """

    touched: Touched


@dataclass(frozen=True, slots=True)
class AboutToSleep:
    """The machine will be suspended within seconds."""


@dataclass(frozen=True, slots=True)
class Woke:
    """The machine resumed after a suspend; `asleep_s` is None if it was not measured.

    Two watchers may report the same wake; the second report is not a second sleep.
    """

    asleep_s: float | None


@dataclass(frozen=True, slots=True)
class NetworkManagerChanged:
    """NetworkManager's facts changed.

    This is the only hint that carries facts: they arrive in signals, and some (why a VPN ended) cannot be
    read later.
    """

    facts: ManagerFacts


Hint = NetworkTouched | AboutToSleep | Woke | NetworkManagerChanged


class HintSource(Protocol):
    """A watcher. `start` must be called inside the running event loop, and hints arrive there.

    `close` may be called at any time, also twice. No hint follows it.
    """

    def start(self, hint: Callable[[Hint], None]) -> None:
        """Begin to watch; raises OSError or NetlinkError if that is impossible."""

    def close(self) -> None:
        """Stop watching and release all resources."""
