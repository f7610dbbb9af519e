"""The non-blocking client: streams, answers and errors."""

from __future__ import annotations

import select
from typing import Any

import pytest

from trayagent.ipc.errors import NoAgent, Refused
from trayagent.ipc.nonblocking_client import Heard

WITHIN_S = 10.0


def taken(heard: Heard) -> list[dict[str, Any]]:
    """Wait until there is something to take, and take it."""
    found: list[dict[str, Any]] = []
    while not found:
        assert select.select([heard], [], [], WITHIN_S)[0], "nothing came"
        found = heard.take()
    return found


def test_a_streams_items_are_taken_as_they_come(running: Any) -> None:
    """Items arrive without blocking, and without the acknowledgement that precedes them."""
    with Heard(running.path, "watch", {"hosts": []}) as heard:
        assert taken(heard) == [{"view": 0}]
        assert heard.take() == []
        running.push({"view": 1})
        assert taken(heard) == [{"view": 1}]
        assert heard.take() == []


def test_an_answer_is_taken_when_the_agent_has_worked_it_out(running: Any) -> None:
    """Before the answer arrives, take() returns without an item and does not block."""
    with Heard(running.path, "reconnect", {"hosts": ["web"]}) as heard:
        assert heard.take() == []
        running.loop.call_soon_threadsafe(running.handler.finish.set)
        assert [answer["op"] for answer in taken(heard)] == ["reconnect"]


def test_a_refusal_and_the_agents_end_are_different_errors(running: Any) -> None:
    """A refusal carries the agent's text, and a missing agent is reported immediately."""
    with Heard(running.path, "watch", {"hosts": ["unknown"]}) as heard:
        with pytest.raises(Refused) as refused:
            taken(heard)
        assert refused.value.code == "unknown-host"
    with Heard(running.path, "watch", {"hosts": []}) as heard:
        assert taken(heard)
        running.run(running.server.close())
        with pytest.raises(NoAgent):
            taken(heard)
    with pytest.raises(NoAgent):
        Heard(running.path, "status", {"hosts": []})
