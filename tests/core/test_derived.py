"""Derived values: a function of facts is called once for each version of the facts."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.facts.derived import derived_once
from trayagent.core.facts.hosts import Hop, Host


def test_each_version_of_a_host_is_derived_once() -> None:
    """The value is derived once for the same host object, and again for a changed object, even if it is equal."""
    calls: list[str] = []

    @derived_once
    def name_of(host: Host) -> str:
        """Return the name."""
        calls.append(host.name)
        return host.name

    one = Host("one")
    assert [name_of(one), name_of(one), name_of(replace(one)), name_of(replace(one, name="two"))] == [
        "one",
        "one",
        "one",
        "two",
    ]
    assert calls == ["one", "one", "two"]
    assert name_of.__doc__ == "Return the name."


def test_many_versions_get_their_own_values() -> None:
    """Thousands of versions that come and go get their own values, although Python reuses their addresses."""
    for number in range(10_000):
        host = Host(f"web{number % 5000}", hop=Hop(f"h{number}", 22))
        assert host.server == f"h{number}:22"
        del host
