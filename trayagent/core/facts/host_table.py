"""The hosts by name. The table caches what was computed from all hosts, and notes what a decision read.

When many hosts wait for one server, each of them needs the same facts: which names the server has, and which logins
are in progress. These facts stay true until a host changes. So they are computed once after each change.

A decision about a host stays valid until something that it read changes (`core/policy/settled.py`). So while a host is
advanced, the table notes each read of another host's facts. The reader declares nothing: every access is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trayagent.core.facts.hosts import Host

if TYPE_CHECKING:
    from trayagent.core.facts.state import State

_Value = TypeVar("_Value")

_FIELDS = (
    "addresses",
    "draining",
    "hop",
    "known_keys",
    "later_hops",
    "login",
    "master",
    "reached",
    "resolved",
    "retry",
    "roaming",
)
"""The fields of hosts whose changes are noted one by one, for values that depend only on a few of them."""


_SHARED_READS = 256  # this limits the memory for reads that no host makes any more


class Read(Protocol):
    """Something that a decision read, apart from its own host's facts."""

    def holds(self, state: State, now: float) -> bool:
        """Report whether the same would be read now, as far as it matters for the decision."""


class Reads:
    """What one decision read of other hosts: some of them, by name; facts of all; or values that can be compared."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host | None] = {}
        self.everything = False
        self.values: list[Read] = []
        self.until = inf  # from then on, the decision may differ although nothing changed


class HostTable(dict[str, Host]):
    """The hosts by name. Change the table only by assignment and `pop`, because only these note the change.

    `version` is another object after each change of a host, and of what servers and accounts saw. `settled` has the
    basis of each host's last decision, and `shared` the facts that belong to no host; `core/policy/settled.py` uses
    both. `answers` caches the answers to questions of many hosts until the next change.
    """

    def __init__(self, hosts: Mapping[str, Host] | Iterable[tuple[str, Host]] = ()) -> None:
        super().__init__(hosts)
        self.version: object = None
        self.shared: object = None
        self.settled: dict[str, Any] = {}
        self.reads: Reads | None = None
        self.answers: dict[Hashable, Any] = {}
        self._shared_reads: dict[Hashable, Read] = {}
        self._changed: dict[str, object] = dict.fromkeys(_FIELDS)
        self._derived: dict[Hashable, tuple[Hashable, Any]] = {}
        if isinstance(hosts, HostTable):
            hosts.pass_on_to(self)

    def pass_on_to(self, later: HostTable) -> None:
        """Give a later table what is known of the same hosts."""
        later.version, later.shared, later.settled = self.version, self.shared, dict(self.settled)
        later._changed, later._derived = dict(self._changed), dict(self._derived)
        later._shared_reads = dict(self._shared_reads)

    def __setitem__(self, name: str, host: Host) -> None:
        old = dict.get(self, name)
        if old is not host:
            self._note_change_of(old, host)
            super().__setitem__(name, host)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove a host and return it."""
        self._note_change_of(None, None)
        self.settled.pop(name, None)
        return super().pop(name, *default)

    def note_change(self) -> None:
        """Note a change of facts that belong to the hosts, but are not in the table."""
        self.version = object()
        self.answers.clear()

    def _note_change_of(self, old: Host | None, new: Host | None) -> None:
        self.note_change()
        for field in _FIELDS:
            if old is None or getattr(old, field) is not getattr(new, field):
                self._changed[field] = self.version

    def get(self, name: str, default: Any = None) -> Any:
        """Return a host, or `default`."""
        found = dict.get(self, name, default)
        if self.reads is not None:
            self.reads.hosts[name] = found
        return found

    def __getitem__(self, name: str) -> Host:
        found = super().__getitem__(name)
        if self.reads is not None:
            self.reads.hosts[name] = found
        return found

    def values(self) -> Any:
        """Return the hosts."""
        read_everything(self)
        return super().values()

    def items(self) -> Any:
        """Return the names and the hosts."""
        read_everything(self)
        return super().items()

    @contextmanager
    def noted(self) -> Iterator[Reads]:
        """Note the reads in this block."""
        self.reads = reads = Reads()
        try:
            yield reads
        finally:
            self.reads = None

    def shared_read(self, key: Hashable, make: Callable[[], Read]) -> Read:
        """Return the read that all hosts with an equal key share."""
        if len(self._shared_reads) > _SHARED_READS:
            self._shared_reads.clear()
        if key not in self._shared_reads:
            self._shared_reads[key] = make()
        return self._shared_reads[key]

    def version_of(self, fields: tuple[str, ...]) -> tuple[object, ...]:
        """Return a value that differs after each change of these fields of a host; without fields, of any fact."""
        found: tuple[object, ...] | None = self.answers.get(fields)
        if found is None:
            found = tuple([self._changed[field] for field in fields]) if fields else (self.version,)
            self.answers[fields] = found
        return found

    def derive(
        self, derive: Callable[..., _Value], args: tuple[Hashable, ...], of: tuple[str, ...]
    ) -> _Value:
        """Return `derive(self, *args)`, computed again only after a change; see `once`."""
        key = (derive, *args)
        version = self.version_of(of)
        found = self._derived.get(key)
        if found is None or found[0] != version:
            old = found[1] if found is not None else None
            with unread(self):
                new = derive(self, *args)
            found = self._derived[key] = version, old if _same(old, new) else new
        value: _Value = found[1]
        return value


def _same(old: object, new: object) -> bool:
    """Report whether a value that was derived again is the same. Facts are compared by identity."""
    if isinstance(old, tuple) and isinstance(new, tuple):
        return len(old) == len(new) and all(map(_same, old, new))
    return old is new or (isinstance(new, (bool, float, str, frozenset)) and old == new)


class _Derived:
    """The read of a value that was derived from all hosts."""

    __slots__ = ("_args", "_derive", "_of", "_value", "_version")

    def __init__(
        self,
        derive: Callable[..., Any],
        args: tuple[Hashable, ...],
        of: tuple[str, ...],
        value: object,
        version: tuple[object, ...],
    ) -> None:
        self._derive, self._args, self._of, self._value = derive, args, of, value
        self._version = version  # of the hosts for which the value is known to be the same

    def holds(self, state: State, now: float) -> bool:  # noqa: ARG002  # see Read
        """Report whether the value is still the same object."""
        hosts = state.hosts
        version = hosts.version_of(self._of) if isinstance(hosts, HostTable) else None
        if version is not None and version == self._version:
            return True
        same = once(hosts, self._derive, *self._args, of=self._of) is self._value
        if same and version is not None:
            self._version = version
        return same


def once(
    hosts: Mapping[str, Host], derive: Callable[..., _Value], *args: Hashable, of: tuple[str, ...] = ()
) -> _Value:
    """Return `derive(hosts, *args)`. For a HostTable, the result is cached until a host changes.

    The result must depend only on the hosts and on `args`. `of`: it depends only on these fields of the hosts.
    """
    if not isinstance(hosts, HostTable):
        return derive(hosts, *args)
    value = hosts.derive(derive, args, of)
    if hosts.reads is not None:
        hosts.reads.values.append(_Derived(derive, args, of, value, hosts.version_of(of)))
    return value


def read_everything(hosts: Mapping[str, Host]) -> None:
    """Note that a decision read facts of all hosts, or what servers or accounts saw."""
    if isinstance(hosts, HostTable) and hosts.reads is not None:
        hosts.reads.everything = True


@contextmanager
def unread(hosts: Mapping[str, Host]) -> Iterator[Reads | None]:
    """Note no reads in this block. Yield the earlier reads, to which the caller can add one that stands for the block.

    Yield None outside the advance of a host.
    """
    if not isinstance(hosts, HostTable):
        yield None
        return
    reads, hosts.reads = hosts.reads, None
    try:
        yield reads
    finally:
        hosts.reads = reads
