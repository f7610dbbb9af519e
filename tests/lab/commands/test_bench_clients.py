"""The bench of the programs that people run through ssh: it measures one of them, and its tables are in the docs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.client_runs import AT_ONCE_S, CONTESTANTS, EVENTS, run
from bench.client_table import cell, table
from bench.clients import CLIENTS
from tests.lab.matrix import laboratory

PAGE = Path(__file__).parents[3] / "docs/clients.md"


@pytest.mark.lab
def test_the_bench_measures_a_connection_through_a_move() -> None:
    """A connection through -L ends at once in another network, the next one works soon, and the table shows both."""
    laboratory().close()  # skipped where the machine forbids it
    found = run(CLIENTS["tcp"], "S1", CONTESTANTS["trayagent"])
    assert found.trouble is None
    assert found.open_s is not None
    assert found.again_s is not None
    assert found.what == ("ends at once" if found.open_s <= AT_ONCE_S else "hangs, then ends")
    row = table(["tcp"], {("tcp", name): found for name in CONTESTANTS})[-1]
    assert row.startswith(f"| a TCP connection through -L | {found.what}, {found.open_s:.1f} s | ")


def test_a_missing_program_is_a_row_with_its_reason() -> None:
    """A program that the machine lacks is not left out of the table."""
    lacking = replace(CLIENTS["rsync"], needs=("no-such-program",))
    assert cell(run(lacking, "S1", "")) == "not measured: no-such-program is not installed | -"


def test_the_page_has_a_row_for_each_program_and_event() -> None:
    """The tables of docs/clients.md have the head and the rows that the bench prints."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    head = table([], {})[0]
    assert lines.count(head) == len(EVENTS)
    for client in CLIENTS.values():
        assert sum(line.startswith(f"| {client.title} | ") for line in lines) == len(EVENTS), client.title
