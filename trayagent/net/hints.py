"""Define the hints of the watchers. A hint reports that something happened, not the state of the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from trayagent.core.facts.network import Touched
from trayagent.core.facts.network_manager import ManagerFacts


class NetworkTouched(Struct, frozen=True):
    """The network changed or flickered: read the whole state again.

    `touched` lists what may have been interrupted, see `Touched`. It is empty for any other change.
    """

    touched: Touched


class AboutToSleep(Struct, frozen=True):
    """The machine will be suspended within seconds."""


class Woke(Struct, frozen=True):
    """The machine resumed after a suspend; `asleep_s` is None if it was not measured.

    Two watchers may report the same wake, so a second report does not mean a second sleep.
    """

    asleep_s: float | None


class NetworkManagerChanged(Struct, frozen=True):
    """NetworkManager's facts changed.

    This is the only hint that carries facts, because they arrive in signals, and some cannot be read later (why a VPN
    ended).
    """

    facts: ManagerFacts


Hint = NetworkTouched | AboutToSleep | Woke | NetworkManagerChanged


class HintSource(Protocol):
    """A watcher. Call `start` inside the running event loop; the hints arrive in that loop.

    `close` may be called at any time, also twice. No hint arrives after it.
    """

    def start(self, hint: Callable[[Hint], None]) -> None:
        """Begin to watch; raises OSError or NetlinkError if that is impossible."""

    def close(self) -> None:
        """Stop watching and release all resources."""
