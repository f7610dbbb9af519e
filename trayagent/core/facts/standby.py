"""The facts of a standby: a host's spare master on a second network interface; frozen data. See docs/roaming.md."""

from __future__ import annotations

from msgspec import Struct

from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Network
from trayagent.core.facts.time_constants import NEVER


class Standby(Struct, frozen=True):
    """A host's spare master, and what is known of the login that makes the next one.

    `attempt` is the number of the login in progress. `master` is the spare master, since `ready_at`. Both leave from
    the address `source` of `interface`, in the network `network`. `asked_at` is since when the spare master has to
    prove that it works, because the host's own connection may be lost. `failed` counts the spare masters that were
    lost soon, and the failed logins, in a row. `retry_at` is when the next login may begin. `refused`: the server
    refused the last login, so there is no next one until the user changes something.
    """

    attempt: int | None = None
    master: Master | None = None
    interface: str = ""
    source: str | None = None
    network: Network | None = None
    ready_at: float = NEVER
    asked_at: float | None = None
    failed: int = 0
    retry_at: float = NEVER
    refused: bool = False


NO_STANDBY = Standby()
