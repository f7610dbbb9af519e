"""A damaged record file loses only its damaged parts, and never prevents the start of the agent."""

from __future__ import annotations

import copy
import json
import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trayagent.agent.forwards.remote_session_records import RemoteRecords
from trayagent.agent.state import machine_ids, record_file, refusal_records
from trayagent.agent.state.host_records import remembered
from trayagent.agent.state.record_types import VERSION, KeptHost
from trayagent.agent.state.records import Records, records_path
from trayagent.core.facts.masters import Master

BOOT = machine_ids.boot_id()
WHOLE: dict[str, Any] = {
    "version": VERSION,
    "masters": {"42": {"path": "/run/cm", "start": 7, "boot": BOOT, "host": "web01", "forwards": ["local 1:a:2"],
                       "host_key": "ssh-ed25519 SHA256:abc", "target": "web01.example 22", "mptcp": False,
                       "spare": False}},
    "attempts": {"/run/cm.n": {"host": "web01", "target": "/run/cm", "log": "/run/log", "boot": BOOT,
                               "trusted": False}},
    "hosts": {
        "web01": {
            "held": True,
            "paused_until": None,
            "reached": [["wlan0", "aa:bb", "Home"]],
            "learned_vpn": "tun0",
            "addresses": ["192.0.2.1"],
            "worked_at": 1.7e9,
            "login": "quiet",
            "sentinel": False,
            "agent_socket": "/run/agent",
            "killing": {"boot": BOOT, "pids": [43]},
            "refused": [1.7e9],
            "refused_by_jump": [1.7e9],
            "refused_elsewhere": [[1.7e9, "ssh-ed25519 SHA256:abc"]],
            "refusal": {"kind": "auth", "code": "auth-denied", "title": "t", "hint": "h", "at": 1.0, "due": None,
                        "agent": "mark", "by_jump": True, "proven": False, "network": ["wlan0", "cc:01", "Cafe"],
                        "source": "10.20.0.7"},
        },
        "db": {"learned_vpn": "tun1"},
    },
    "paused_until": None,
    "far": {
        "web01": {
            "sessions": [
                {"session": {"pid": 9, "mark": "b/[4]/1"}, "master_pid": 42, "start_ticks": 7, "ours": True,
                 "machine": {"name": "m", "boot": BOOT}, "connection": ["192.0.2.1", 4000, "192.0.2.9", 22]},
            ],
            "sockets": ["/run/a"],
        },
    },
    "roaming": {
        "0123456789abcdef": {
            "host": "web01", "token": "0123456789abcdef.0123456789abcdef0123456789abcdef", "near": "n", "boot": BOOT,
            "path": "/run/cm", "outer_path": "/run/cm.1", "address": "192.0.2.9", "port": 22, "machine": "m",
            "far_boot": "b", "far_path": "/run/b.roam", "far_pid_ns": "4:1", "far_net_ns": "4:2",
            "far_folder": "/run", "far_folder_id": "5:3", "roam_for_s": 43200.0, "inner": 44, "start": 8,
            "far_port": 60001, "lost_at": 1.7e9, "lost_path": True, "outer": 45, "outer_start": 9,
        },
    },
}  # fmt: skip


def used(records: Records) -> None:
    """Read everything that an agent reads from its records."""
    now = time.monotonic()
    for name, kept in records.hosts().items():
        remembered(name, kept, now)
        refusal_records.outdated(kept, "", [])
        records.has_sentinel(name)
        records.agent_socket(name)
        records.up(name)
    records.begun()
    records.is_started_by_agent(42, 7)
    records.opened(42, 7)
    records.path_of(42)
    records.inner_pids()
    for kept_roaming in records.roaming().values():
        records.set_roaming(kept_roaming)
    far = RemoteRecords(records)
    far.sessions("web01")
    far.sockets("web01")
    records.add_master(Master(77, 5, "/run/new", started_by_agent=True), "web01", [])
    records.keep_only({42, 77})


# Wrong values that an editor, a full disk or another version may leave in any field.
ODD: list[object] = [
    None, "", "text", 5, -1, 1e308, True, [], [None], [["a", "b", "c", "d"]], [{}], {}, {"a": 1}, {"42": None},
    "\ud800", 10**400, float("nan"),
]  # fmt: skip


def places(value: Any, path_to: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to each value inside the records."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path_to, *(found for key, one in inner for found in places(one, (*path_to, key)))]


@pytest.mark.parametrize("path_to", places(WHOLE)[1:], ids=lambda path_to: ".".join(map(str, path_to)))
def test_any_value_may_be_damaged(tmp_path: Path, path_to: tuple[Any, ...]) -> None:
    """The agent starts even if any one field has a wrong value. Unaffected hosts keep their records."""
    for odd in ODD:
        data = copy.deepcopy(WHOLE)
        inner = data
        for key in path_to[:-1]:
            inner = inner[key]
        inner[path_to[-1]] = odd
        path = tmp_path / "r.json"
        path.write_text(json.dumps(data))
        records = Records(path)
        used(records)
        used(Records(path))
        if "db" not in path_to and path_to not in {("hosts",), ("version",)}:
            assert records.hosts()["db"].learned_vpn == "tun1", odd


@pytest.mark.parametrize("gone", places(WHOLE)[1:], ids=lambda path_to: ".".join(map(str, path_to)))
def test_any_value_may_be_missing(tmp_path: Path, gone: tuple[Any, ...]) -> None:
    """The agent starts with a file that lacks any one value: a repaired file, or one of an older version."""
    data = copy.deepcopy(WHOLE)
    inner = data
    for key in gone[:-1]:
        inner = inner[key]
    del inner[gone[-1]]
    path = tmp_path / "r.json"
    path.write_text(json.dumps(data))
    used(Records(path))


def test_a_whole_file_is_read_as_it_is_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A valid file is not reported as damaged, and writing it again loses no value."""
    path = tmp_path / "r.json"
    path.write_text(json.dumps(WHOLE))
    records = Records(path)
    assert (list(records.begun()), records.opened(42, 7)) == (["/run/cm.n"], ["local 1:a:2"])
    records.set_agent_socket("db", "/run/x")
    again = json.loads(path.read_text())
    for table in ("masters", "attempts", "far", "roaming"):
        assert again[table] == WHOLE[table]
    assert WHOLE["hosts"]["web01"].items() <= again["hosts"]["web01"].items()
    assert not caplog.records
    assert not path.with_name("r.json.bad").exists()


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (lambda d: d["masters"].update(x={"path": 1}), "masters.x"),
        (lambda d: d["masters"]["42"].update(start="soon"), "masters.42.start"),
        (lambda d: d["hosts"]["web01"].update(held="perhaps"), "hosts.web01.held"),
        (lambda d: d["hosts"]["web01"].update(login="?"), "hosts.web01.login"),
        (lambda d: d["hosts"]["web01"]["reached"].append([]), "hosts.web01.reached.1"),
        (lambda d: d["hosts"]["web01"]["refusal"].update(kind="?"), "hosts.web01.refusal.kind"),
        (lambda d: d["far"]["web01"]["sessions"].append(1), "far.web01.sessions.1"),
        (
            lambda d: d["roaming"]["0123456789abcdef"].update({"token": "0; reboot"}),
            "roaming.0123456789abcdef.token",
        ),
    ],
)
def test_only_the_damaged_part_is_lost_and_that_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Any], None], lost: str
) -> None:
    """The message names the damaged part and the copy of the file.

    The next agent finds a valid file and logs no message.
    """
    data = copy.deepcopy(WHOLE)
    damage(data)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(data))
    kept = Records(path).hosts()["web01"]
    assert (kept.learned_vpn, kept.addresses, kept.sentinel) == ("tun0", ["192.0.2.1"], False)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert lost in warning.getMessage()
    assert "r.json.bad" in warning.getMessage()
    assert json.loads((tmp_path / "r.json.bad").read_text()) == data
    caplog.clear()
    assert Records(path).hosts()["web01"] == kept
    assert not caplog.records


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"null", b"{}", b'{"version": 1, "masters"', b'{"version": 99, "masters": {}, "hosts": {}}',
        b"\xff\xfe\x00", b"\x00" * 4096, b"[" * 200_000, b'{"version": "1"}',
    ],
    ids=lambda text: repr(text[:30]),
)  # fmt: skip
def test_a_file_without_anything_sound_is_put_aside(tmp_path: Path, text: bytes) -> None:
    """If no part of the file is valid (half a file, another version), the agent starts and keeps a copy."""
    path = tmp_path / "r.json"
    path.write_bytes(text)
    records = Records(path)
    used(records)
    assert (tmp_path / "r.json.bad").read_bytes() == text
    assert Records(path).is_started_by_agent(77, 5)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_file_is_put_aside(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """If the path is not a regular file, it is moved aside. The agent does not wait for a pipe without a writer."""
    path = tmp_path / "r.json"
    make(path)
    used(Records(path))
    assert stat.S_ISREG(path.stat().st_mode)


def test_a_damaged_value_beside_it_leaves_who_started_a_master(tmp_path: Path) -> None:
    """The key `ours`, which is `started_by_agent` in memory, is read even if another field is damaged."""
    up = {"boot": BOOT, "pid": 42, "start": 7, "path": "/run/cm", "ours": True, "local": 5}
    path = records_path(tmp_path, "m")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": VERSION, "hosts": {"web01": {"up": up}}}))
    found = Records(path).up("web01")
    assert found is not None
    assert (found.started_by_agent, found.local) == (True, None)


def test_a_file_that_cannot_be_written_does_not_stop_the_agent(tmp_path: Path) -> None:
    """A missing state directory causes a warning each time, and the agent continues."""
    used(Records(tmp_path / "gone" / "r.json"))


def test_an_odd_path_survives(tmp_path: Path) -> None:
    """A path with any bytes survives in the records."""
    path = os.fsdecode(b"/run/cm-\xff")
    Records(tmp_path / "r.json").add_master(Master(42, 7, path, started_by_agent=True), "web01", [])
    assert Records(tmp_path / "r.json").path_of(42) == path


def test_machines_with_one_home_have_a_file_each(tmp_path: Path) -> None:
    """Agents of two machines do not erase each other's records."""
    for name in ("one", "two"):
        Records(records_path(tmp_path, name)).add_master(
            Master(42, 7, f"/run/{name}", started_by_agent=True), name, []
        )
    for name in ("one", "two"):
        assert Records(records_path(tmp_path, name)).path_of(42) == f"/run/{name}"


def test_the_file_of_an_older_version_is_taken_over(tmp_path: Path) -> None:
    """The records in agent.json become this machine's records, in a separate file."""
    (tmp_path / "agent.json").write_text(json.dumps(WHOLE))
    records = Records(records_path(tmp_path, "one"))
    assert records.hosts()["db"] == KeptHost(learned_vpn="tun1")
    assert not (tmp_path / "agent.json").exists()
    (tmp_path / "agent.json").write_text("{}")  # another machine's agent of an older version
    assert Records(records_path(tmp_path, "one")).hosts()["db"].learned_vpn == "tun1"
    assert (tmp_path / "agent.json").exists()


def test_the_name_of_the_file_does_not_tell_the_machines_id(tmp_path: Path) -> None:
    """The file name does not reveal the machine's id (machine-id(5)), because others may read the home directory."""
    ids = tmp_path / "machine-id"
    ids.write_text("5f1d0000000000000000000000000000\n")
    mark = machine_ids.file_mark([str(ids)])
    assert mark == machine_ids.file_mark([str(ids)])
    assert not mark.startswith("5f1d")
    assert mark.isalnum()
    assert record_file.read(tmp_path / "none.json").hosts == {}
