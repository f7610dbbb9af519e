"""The hosts by name, with a cache for values that are computed from all hosts.

When many hosts wait for one server, each of them needs the same facts: which names the server has, and which logins
are in progress. These facts stay true until a host changes. So they are computed once after each change, and the work
of an event grows with the number of hosts, not with its square.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from trayagent.core.facts.hosts import Host

_Value = TypeVar("_Value")


class HostTable(dict[str, Host]):
    """The hosts by name. Change the table only by assignment and `pop`, because only these clear the cache."""

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
    """Return the result of `derive`. For a HostTable, it is cached under the key `what` until a host changes.

    The result must depend only on the hosts and on `what`.
    """
    if not isinstance(hosts, HostTable):
        return derive()
    if what not in hosts.derived:
        hosts.derived[what] = derive()
    found: _Value = hosts.derived[what]
    return found
