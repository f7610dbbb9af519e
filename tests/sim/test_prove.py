"""The runner of `make prove`, and its map of the parts that histories reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim import prove
from tests.sim.histories import History
from tests.sim.playing import play
from tests.sim.prove import Batch, Run, batches, played
from tests.sim.reached import as_map, parts, reached_by


def test_batches_cover_all_kinds_and_no_seed_twice() -> None:
    """The batches have the requested number of histories, and no two batches share a seed."""
    found = list(batches(5_600))
    seeds = [(batch.kind, batch.first + n) for batch in found for n in range(batch.count)]
    assert len(seeds) == len(set(seeds)) == 5_600
    assert {kind for kind, _ in seeds} == {
        "general",
        "processes",
        "sessions",
        "roaming",
        "reports",
        "requests",
        "nodes",
        "ports",
        "standby",
    }


def test_a_run_continues_where_it_was_stopped(tmp_path: Path) -> None:
    """The next run plays only the batches that are not in the progress file, even if its last line is incomplete."""
    run = Run(tmp_path, 12)
    assert run.left() == [Batch("general", 0, 12)]
    run.take(map(played, run.left()))
    assert Run(tmp_path, 12).left() == []
    assert Run(tmp_path, 12).reached() == run.reached()
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:-20])
    assert Run(tmp_path, 12).left() == [Batch("general", 0, 12)]


def test_a_violation_is_shortened_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run writes a history that raises to a file, shortened to the step that causes the exception."""
    steps = ((1.0, "look", ""), (4.0, "plug", "nowhere"), (1.0, "look", ""))
    drawn: History = (("web", "nas"), 0.04, steps)
    monkeypatch.setitem(prove._KINDS, "general", lambda _seed: drawn)
    run = Run(tmp_path, 1)
    run.take(map(played, run.left()))
    (violation,) = run.violations()
    assert violation.history == repr(((), 0.04, ((0.0, "plug", "nowhere"),)))
    (kept,) = tmp_path.glob("*-general-0.txt")
    assert "KeyError" in kept.read_text()
    assert [each.seed for each in Run(tmp_path, 1).violations()] == [0]


def test_the_map_shows_what_was_reached_and_what_was_not() -> None:
    """The map shows a move with its rows and their pairs, and lists a part that no history reached."""
    found = reached_by(play((("web",), 0.04, ((1.0, "plug", "cafe"), (20.0, "look", "")))))
    assert found["row 9 replace"]
    assert found["event NetworkRead"]
    assert found["pair 4 9"]
    assert found.keys() - parts() <= {name for name in found if name.startswith(("pair", "row", "guard"))}
    missing = as_map(found).partition("Not reached: ")[2]
    assert "guard captive-portal" in missing
    assert "row 9 replace" not in missing
