"""Values that are derived from all hosts are kept until a host changes."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from trayagent.core.decision_context import Context
from trayagent.core.facts.host_table import HostTable, once
from trayagent.core.facts.hosts import Hop, Host
from trayagent.core.facts.state import State
from trayagent.core.policy.logins.server_names import names_of

ONE = Host("one", hop=Hop("192.0.2.1", 22), addresses=("192.0.2.1",))
TWO = Host("two", hop=Hop("two.example", 22), addresses=("192.0.2.1",))


def test_a_change_of_any_host_drops_what_was_derived() -> None:
    """A value is derived once, and again after an assignment or a removal, but not after the same assignment."""
    hosts = HostTable({"one": ONE, "two": TWO})
    counts: list[int] = []

    def count(among: Mapping[str, Host]) -> int:
        """Count the hosts."""
        counts.append(len(among))
        return len(among)

    assert [once(hosts, count) for _ in range(3)] == [2, 2, 2]
    hosts["one"] = ONE
    assert (once(hosts, count), counts) == (2, [2])
    hosts["one"] = replace(ONE)
    assert (once(hosts, count), counts) == (2, [2, 2])
    assert hosts.pop("two") is TWO
    assert (once(hosts, count), counts) == (1, [2, 2, 1])
    assert hosts.pop("none", None) is None
    assert [once(dict(hosts), count) for _ in range(2)] == [1, 1]
    assert counts == [2, 2, 1, 1, 1]


def test_a_decision_never_uses_what_an_earlier_state_showed() -> None:
    """During and after a decision, the names of a server follow each change. The earlier state keeps its own names."""
    earlier = State(hosts={"one": ONE, "two": TWO})
    context = Context(earlier, 0.0)
    assert names_of("192.0.2.1:22", context.state.hosts) == {"192.0.2.1:22", "two.example:22"}
    context.put(TWO, addresses=("192.0.2.2",))
    assert names_of("192.0.2.1:22", context.state.hosts) == {"192.0.2.1:22"}
    later = Context(context.state, 1.0)
    later.forget("one")
    assert names_of("two.example:22", later.state.hosts) == {"two.example:22", "192.0.2.2:22"}
    assert names_of("192.0.2.1:22", context.state.hosts) == {"192.0.2.1:22"}
    assert names_of("192.0.2.1:22", earlier.hosts) == {"192.0.2.1:22", "two.example:22"}
