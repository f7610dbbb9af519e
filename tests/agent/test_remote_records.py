"""The records of the server-side sessions of our connections."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from trayagent.agent.forwards.remote_session_records import RemoteRecords
from trayagent.agent.state.machine_ids import this_machine
from trayagent.agent.state.records import Records
from trayagent.core.facts.masters import Master
from trayagent.core.facts.remote_sessions import RemoteSession

MASTER = Master(
    42,
    7,
    "/run/cm",
    started_by_agent=True,
    local="192.0.2.1",
    local_port=4000,
    peer="192.0.2.9",
    peer_port=22,
)
SESSION = RemoteSession(900, "boot/[4]/123")


def far(path: Path) -> RemoteRecords:
    """Open the records again, as the next agent does."""
    return RemoteRecords(Records(path / "r.json"))


def test_a_session_is_known_to_the_next_agent(tmp_path: Path) -> None:
    """A session is recorded with its master, the machine, its boot, and the connection."""
    records = far(tmp_path)
    records.keep("web01", MASTER, SESSION)
    (kept,) = far(tmp_path).sessions("web01")
    assert kept.session == SESSION
    assert (kept.master_pid, kept.start_ticks, kept.ours) == (42, 7, True)
    assert kept.connection == ("192.0.2.1", 4000, "192.0.2.9", 22)
    assert kept.machine == records.machine
    assert far(tmp_path).sessions("other") == []


def test_a_session_is_kept_once_with_its_newest_master(tmp_path: Path) -> None:
    """A master that forked has another pid and the same remote session, which is recorded once."""
    records = far(tmp_path)
    records.keep("web01", MASTER, SESSION)
    records.keep("web01", replace(MASTER, pid=43, local=None), SESSION)
    (kept,) = records.sessions("web01")
    assert kept.master_pid == 43
    assert kept.connection is None


def test_sessions_that_are_gone_are_forgotten_and_no_more_than_a_few_are_kept(tmp_path: Path) -> None:
    """Sessions that have ended are forgotten, and only a few are kept, even if a server is reinstalled every day."""
    records = far(tmp_path)
    for number in range(20):
        records.keep("web01", MASTER, replace(SESSION, pid=number))
    kept = [one.session.pid for one in records.sessions("web01")]
    assert kept == [*range(12, 20)]
    records.forget("web01", {replace(SESSION, pid=19)})
    assert [one.session.pid for one in far(tmp_path).sessions("web01")] == kept[:-1]


def test_sockets_are_kept_newest_last(tmp_path: Path) -> None:
    """Each socket is recorded once, across restarts, and beside the sessions."""
    records = far(tmp_path)
    records.add_sockets("web01", ["/run/a", "/run/b"])
    records.keep("web01", MASTER, SESSION)
    records.add_sockets("web01", ["/run/a"])
    assert far(tmp_path).sockets("web01") == ["/run/b", "/run/a"]
    assert len(far(tmp_path).sessions("web01")) == 1


@pytest.mark.parametrize(
    "rows",
    [[1], [{}], [{"session": 1}], [{"session": {"pid": "x", "mark": 1}}], "text", None, [None], {"a": 1}],
)
def test_a_row_of_another_shape_is_as_good_as_none(tmp_path: Path, rows: object) -> None:
    """After a manual edit, only rows of the right form are used."""
    far(tmp_path).keep("web01", MASTER, SESSION)
    path = tmp_path / "r.json"
    data = json.loads(path.read_text())
    data["far"]["web01"]["sessions"] = rows
    data["far"]["web01"]["sockets"] = rows
    path.write_text(json.dumps(data))
    records = far(tmp_path)
    assert records.sessions("web01") == []
    assert all(isinstance(one, str) for one in records.sockets("web01"))
    records.keep("web01", MASTER, SESSION)
    assert len(far(tmp_path).sessions("web01")) == 1


@pytest.mark.parametrize("first", [None, "", "uninitialized\n"])
def test_an_image_before_its_first_boot_has_no_name(tmp_path: Path, first: str | None) -> None:
    """If machine-id(5) is absent, empty or "uninitialized", D-Bus's file is used; without both the name is ""."""
    of_the_boot, of_the_bus = tmp_path / "machine-id", tmp_path / "bus"
    if first is not None:
        of_the_boot.write_text(first)
    places = [str(of_the_boot), str(of_the_bus)]
    assert this_machine(places).name == ""
    of_the_bus.write_text("5f1d\n")
    assert this_machine(places).name == "5f1d"
