"""Changes are appended to the record file. Each change is small, and no earlier change is lost."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trayagent.agent.state.record_types import KeptSocket
from trayagent.agent.state.records import Records
from trayagent.core.facts.masters import Master

HOSTS = 100


def master(pid: int) -> Master:
    """Return a master with this pid."""
    return Master(pid, 7, f"/run/cm-{pid}", started_by_agent=True)


def filled(path: Path, spare_dir: Path | None = None) -> Records:
    """Return the records of many hosts, written as one object."""
    records = Records(path, spare_dir=spare_dir)
    for number in range(HOSTS):
        records.set_agent_socket(f"web{number}", f"/run/agent-{number}")
        records.add_master(master(1000 + number), f"web{number}", [])
    records.close()
    return records


def whole(path: Path) -> dict[str, object]:
    """Return the file as an older version reads it. Raise ValueError if there are changes in it."""
    found: dict[str, object] = json.loads(path.read_text())
    return found


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Make the kernel refuse writes beyond this file size, as a full file system does in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_change_costs_the_same_with_many_hosts(tmp_path: Path) -> None:
    """A change appends a line of less than 1 kB, whatever the number of hosts."""
    path = tmp_path / "r.json"
    records = filled(path)
    before = path.stat()
    records.add_master(master(5), "web1", [])
    after = path.stat()
    assert after.st_ino == before.st_ino
    assert 0 < after.st_size - before.st_size < 1000
    assert Records(path).is_started_by_agent(5, 7)


def test_every_kind_of_change_is_read_again(tmp_path: Path) -> None:
    """Added, changed and removed entries of all tables are read back, and local sockets keep their order."""
    path = tmp_path / "r.json"
    records = filled(path)
    records.add_master(master(5), "new", [])
    records.set_forwards(5, ["local 1:a:2"])
    records.drop_master(1000)
    records.keep_only({5, *range(1002, 1000 + HOSTS)})
    records.no_sentinel("web3")
    records.set_local_sockets({"/a": KeptSocket(1, 2), "/b": KeptSocket(3, 4)})
    records.set_local_sockets({"/b": KeptSocket(3, 4), "/a": KeptSocket(1, 2), "/c": KeptSocket(5, 6)})
    with pytest.raises(ValueError, match="Extra data"):
        whole(path)
    later = Records(path)
    assert later.opened(5, 7) == ["local 1:a:2"]
    assert [pid for pid in (1000, 1001, 1002) if later.is_started_by_agent(pid, 7)] == [1002]
    assert (later.has_sentinel("web3"), later.has_sentinel("web4")) == (False, True)
    assert list(later.local_sockets()) == ["/b", "/a", "/c"]


def test_an_older_version_can_read_the_file_of_an_agent_that_ended(tmp_path: Path) -> None:
    """When the agent ends, the file is one object without changes."""
    path = tmp_path / "r.json"
    records = filled(path)
    records.no_sentinel("web3")
    records.close()
    hosts = whole(path)["hosts"]
    assert isinstance(hosts, dict)
    assert hosts["web3"]["sentinel"] is False


def test_a_torn_last_line_costs_only_that_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If the last line is cut anywhere, all earlier changes count, and the damaged file is reported and kept."""
    path = tmp_path / "r.json"
    records = filled(path)
    records.add_master(master(5), "web1", [])
    sound = path.stat().st_size
    records.add_master(master(6), "web1", [])
    text = path.read_bytes()
    for size in (sound + 1, (sound + len(text)) // 2, len(text) - 2):
        caplog.clear()
        path.write_bytes(text[:size])
        later = Records(path)
        assert later.is_started_by_agent(5, 7)
        assert not later.is_started_by_agent(6, 7)
        assert later.is_started_by_agent(1000, 7)
        (warning,) = caplog.records
        assert "change" in warning.getMessage()
        assert (tmp_path / "r.json.bad").read_bytes() == text[:size]
        whole(path)
    path.write_bytes(text[:sound] + b"\0" * 512 + b"\n" + text[sound:])  # zeros, as after a loss of power
    assert Records(path).is_started_by_agent(6, 7)


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    """The file is compacted when its changes take more space than the records."""
    path = tmp_path / "r.json"
    records = filled(path)
    for number in range(5000):
        records.set_agent_socket("web1", f"/run/{number}")
    assert path.stat().st_size < 400_000
    assert Records(path).agent_socket("web1") == "/run/4999"


def test_a_file_that_something_else_replaced_is_written_again(tmp_path: Path) -> None:
    """If another program wrote or removed the file, the agent writes it completely instead of appending a change."""
    path = tmp_path / "r.json"
    records = filled(path)
    path.write_text("something else")
    records.no_sentinel("web3")
    assert not Records(path).has_sentinel("web3")
    path.unlink()
    records.no_sentinel("web4")
    assert not Records(path).has_sentinel("web4")


def test_a_full_disk_loses_no_change(tmp_path: Path) -> None:
    """On a full disk, changes go to the spare file, and the record file stays readable. Later it is complete again."""
    path, spare_dir = tmp_path / "r.json", tmp_path / "spare"
    spare_dir.mkdir()
    records = filled(path, spare_dir=spare_dir)
    size = path.stat().st_size
    with files_no_longer_than(size + 40):
        records.set_agent_socket("web1", "/x" * 200)
        assert Records(path, spare_dir=spare_dir).is_started_by_agent(1000, 7)
    records.no_sentinel("web3")
    later = Records(path, spare_dir=spare_dir)
    assert later.agent_socket("web1") == "/x" * 200
    assert not later.has_sentinel("web3")
    assert later.is_started_by_agent(1000, 7)
    assert not (spare_dir / "r.json").exists()
