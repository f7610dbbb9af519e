"""Derived values: a function of facts is called once for each version of the facts."""

from __future__ import annotations

from msgspec.structs import replace

from trayagent.core.facts.derived import derived_once
from trayagent.core.facts.hosts import Hop, Host


def test_a_value_is_derived_again_only_if_one_of_its_fields_changed() -> None:
    """The value is derived once while its fields are the same objects, and again for another object or host."""
    calls: list[str] = []

    @derived_once("addresses", "hop")
    def first_address_of(host: Host) -> str:
        """Return an address."""
        calls.append(host.name)
        return host.addresses[0]

    one = Host("one", addresses=("192.0.2.1",))
    versions = (one, one, replace(one, lost=True), one, replace(one, name="two"))
    assert {first_address_of(host) for host in versions} == {"192.0.2.1"}
    assert calls == ["one", "two"]
    assert first_address_of(replace(one, addresses=("192.0.2.2",))) == "192.0.2.2"
    assert first_address_of(replace(one, hop=Hop("h", 22))) == "192.0.2.1"
    assert calls == ["one", "two", "one", "one"]
    assert first_address_of.__doc__ == "Return an address."


def test_many_versions_get_their_own_values() -> None:
    """Thousands of versions that come and go get their own values, although Python reuses their addresses."""
    for number in range(10_000):
        host = Host(f"web{number % 5000}", hop=Hop(f"h{number}", 22))
        assert host.server == f"h{number}:22"
        del host
