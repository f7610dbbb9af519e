"""The records of roaming connections that are lost."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from trayagent.agent.roaming.lost_far_relays import LostConnections
from trayagent.agent.roaming.near_relay_process import NearRelayProcess
from trayagent.agent.state.record_types import KeptRoaming
from trayagent.agent.state.records import Records

DAY_S = 86_400.0


def kept(number: int, lost_ago_s: float | None) -> KeptRoaming:
    """Return the record of a connection that was lost `lost_ago_s` ago, or that lives."""
    token = f"{number:016x}.{number:032x}"
    lost_at = None if lost_ago_s is None else time.time() - lost_ago_s
    return KeptRoaming("web01", token, "near", "boot", "/cm", roam_for_s=43_200.0, lost_at=lost_at)


def test_a_connection_is_forgotten_when_its_far_relay_must_have_ended(tmp_path: Path) -> None:
    """A lost connection is forgotten a day after `roam_for`, when its far relay must have ended."""
    records = Records(tmp_path / "r.json")
    parts: Any = SimpleNamespace(records=records)
    lost = LostConnections(parts, NearRelayProcess(tmp_path, None))
    for one in (kept(1, None), kept(2, 60.0), kept(3, DAY_S), kept(4, 2 * DAY_S)):
        records.set_roaming(one)
    lost.forget_old()
    assert [int(token_id, 16) for token_id in records.roaming()] == [1, 2, 3]


def test_a_connection_is_lost_once(tmp_path: Path) -> None:
    """A second loss does not change the recorded time, and does not record a forgotten connection again."""
    records = Records(tmp_path / "r.json")
    parts: Any = SimpleNamespace(records=records)
    lost = LostConnections(parts, NearRelayProcess(tmp_path, None))
    one, gone = kept(1, 60.0), kept(2, None)
    records.set_roaming(one)
    before = one.lost_at
    lost.mark(one)
    lost.mark(gone)
    assert one.lost_at == before
    assert len(records.roaming()) == 1
