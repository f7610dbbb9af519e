"""The replacement of facts in a decision context."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trayagent.core.decision_context import with_changes
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.state import State


def test_changes_give_what_replace_gives() -> None:
    """The changed facts equal those of `dataclasses.replace`, and the old facts stay unchanged."""
    host = Host("web", addresses=("192.0.2.1",))
    assert with_changes(host, {"lost": True}) == replace(host, lost=True)
    assert host == Host("web", addresses=("192.0.2.1",))
    assert with_changes(State(), {"hosts": {"web": host}}) == replace(State(), hosts={"web": host})


def test_an_unknown_field_is_an_error() -> None:
    """A misspelled field raises TypeError, as with `dataclasses.replace`."""
    with pytest.raises(TypeError, match="problems"):
        with_changes(Host("web"), {"problems": None})
