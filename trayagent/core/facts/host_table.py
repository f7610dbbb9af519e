"""The hosts by name, with what was derived from all of them together.

Many hosts that wait for one server ask the same questions about all hosts: which names a server has, which logins are
under way. The answers hold until a host changes. So they are derived once for each change, and the work of an event
grows with the number of hosts, not with its square.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from trayagent.core.facts.hosts import Host

_Value = TypeVar("_Value")


class HostTable(dict[str, Host]):
    """The hosts by name. Change it by assignment and `pop` only: both drop what was derived."""

    def __init__(self, hosts: Mapping[str, Host] | Iterable[tuple[str, Host]] = ()) -> None:
        super().__init__(hosts)
        self.derived: dict[Hashable, Any] = {}

    def __setitem__(self, name: str, host: Host) -> None:
        if self.get(name) is not host:
            self.derived.clear()
            super().__setitem__(name, host)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove a host and return it."""
        self.derived.clear()
        return super().pop(name, *default)


def once(hosts: Mapping[str, Host], what: Hashable, derive: Callable[[], _Value]) -> _Value:
    """Return what `derive` returns. For a HostTable, it is called once for each `what` until a host changes.

    `derive` must be a function of the hosts and `what` alone.
    """
    if not isinstance(hosts, HostTable):
        return derive()
    if what not in hosts.derived:
        hosts.derived[what] = derive()
    found: _Value = hosts.derived[what]
    return found
