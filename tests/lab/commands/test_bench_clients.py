"""The benchmark of programs that use ssh: it measures one program, and prints its row."""

from __future__ import annotations

import pytest

from bench.client_runs import AT_ONCE_S, CONTESTANTS, run
from bench.client_table import table
from bench.clients import CLIENTS
from tests.lab.matrix import laboratory


@pytest.mark.lab
def test_the_bench_measures_a_connection_through_a_move() -> None:
    """On another network a connection through -L ends at once, and the next one works soon. The table shows both."""
    laboratory().close()  # skip if the machine cannot build a laboratory
    found = run(CLIENTS["tcp"], "S1", CONTESTANTS["trayagent"])
    assert found.trouble is None
    assert found.open_s is not None
    assert found.again_s is not None
    assert found.what == ("ends at once" if found.open_s <= AT_ONCE_S else "hangs, then ends")
    row = table(["tcp"], {("tcp", name): found for name in CONTESTANTS})[-1]
    assert row.startswith(f"| a TCP connection through -L | {found.what}, {found.open_s:.1f} s | ")
