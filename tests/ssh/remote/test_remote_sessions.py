"""Our own sessions on a real sshd: the scripts identify them, and end only the right ones."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.ssh.conftest import Master, SshConfig, Sshd, StartMaster, poll, spawn
from trayagent.core.facts.remote_sessions import RemoteSession
from trayagent.ssh.os.process import alive, read
from trayagent.ssh.remote import own_sessions
from trayagent.ssh.remote.own_sessions import Found, parse_session


def own(master: Master) -> RemoteSession:
    """Return a master's session on the server."""
    found = asyncio.run(own_sessions.own(str(master.path)))
    assert found is not None
    return found


def reap(through: Master, *ends: RemoteSession, sockets: tuple[Path, ...] = ()) -> Found:
    """End sessions and remove sockets through a master."""
    found = asyncio.run(own_sessions.reap(str(through.path), ends, [*map(str, sockets)], timeout_s=10))
    assert found is not None
    return found


def living(session: RemoteSession) -> bool:
    """Report whether the session's process still runs."""
    return alive(session.pid, int(session.mark.rpartition("/")[2]))


@pytest.fixture
def two(start_master: StartMaster, short_folder: Path) -> tuple[Master, Master]:
    """Start two masters to one server: one whose session is ended, and one that runs the script for that."""
    return start_master(path=short_folder / "old"), start_master(path=short_folder / "new")


def test_a_session_is_sshds_process_of_that_connection(start_master: StartMaster, sshd: Sshd) -> None:
    """A session is the user's sshd process for the connection; its mark holds boot, pid namespace and start time."""
    session = own(start_master())
    process = read(session.pid)
    assert process is not None
    assert process.comm.startswith("sshd")
    assert process.uid == os.getuid()
    assert session.pid in sshd.pids()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespace = Path(f"/proc/{session.pid}/ns/pid").readlink().name.removeprefix("pid:")
    assert session.mark == f"{boot}/{namespace}/{process.start_ticks}"


def test_an_ended_session_ends_its_connection(two: tuple[Master, Master]) -> None:
    """When the session is ended, the old master exits, because the server closed its connection."""
    old, new = two
    session = own(old)
    found = reap(new, session)
    assert found.sessions == {session: "ended"}
    assert found.own == own(new)
    poll(lambda: old.process.poll() is not None, "the old master ends")
    assert reap(new, session).sessions == {session: "gone"}


@pytest.mark.parametrize("part", [0, 1, 2], ids=["boot", "namespace", "start"])
def test_a_process_with_another_mark_is_left_alone(two: tuple[Master, Master], part: int) -> None:
    """A process is left alone if its pid was reused, or if the record is from another boot or container."""
    old, new = two
    session = own(old)
    words = session.mark.split("/")
    words[part] = "1" + words[part]
    recycled = replace(session, mark="/".join(words))
    assert reap(new, recycled).sessions == {recycled: "other"}
    assert living(session)
    assert old.process.poll() is None


def test_a_process_that_is_not_sshd_is_left_alone(two: tuple[Master, Master]) -> None:
    """A process of the same user that is not sshd is left alone, and the session counts as gone."""
    with spawned([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        words = own(two[0]).mark.split("/")
        process = read(child.pid)
        assert process is not None
        taken = RemoteSession(child.pid, f"{words[0]}/{words[1]}/{process.start_ticks}")
        assert reap(two[1], taken).sessions == {taken: "gone"}
        assert child.poll() is None


def test_the_session_that_runs_the_script_is_never_ended(start_master: StartMaster) -> None:
    """The session that runs the script is never ended, even if a record names it by mistake."""
    master = start_master()
    session = own(master)
    assert reap(master, session).sessions == {session: "own"}
    assert own(master) == session


def test_the_agent_socket_of_an_ended_session_is_removed(
    start_master: StartMaster, ssh_config: SshConfig, short_folder: Path
) -> None:
    """The ssh-agent socket of an ended session is removed; before OpenSSH 10.1 it would stay in /tmp forever."""
    with ssh_agent(short_folder / "agent") as path:
        ssh_config.env["SSH_AUTH_SOCK"] = str(path)
        old = start_master("-o", "ForwardAgent=yes", path=short_folder / "old")
        ssh_config.run("-S", str(old.path), "-A", "box", "true")
        session = own(old)
        left = [*Path(tempfile.gettempdir()).glob(f"ssh-*/agent.{session.pid}")]
        if not left:
            pytest.skip("this sshd keeps its agent sockets elsewhere")
        reap(start_master(path=short_folder / "new"), session)
        assert not left[0].exists()
        assert not left[0].parent.exists()


@contextmanager
def spawned(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process beside the test."""
    with open(os.devnull, "wb") as null:  # noqa: PTH123  # opens a device
        child = spawn(words, null)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextmanager
def ssh_agent(path: Path) -> Iterator[Path]:
    """Run an ssh-agent on a path."""
    program = shutil.which("ssh-agent")
    assert program
    with spawned([program, "-D", "-a", str(path)]):
        poll(path.exists, "the agent listens")
        yield path


def left_over(path: Path) -> Path:
    """Make a Unix socket file without a listener."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    return path


def test_a_left_over_socket_is_removed(start_master: StartMaster, short_folder: Path) -> None:
    """A left-over socket is removed, even if its name needs quoting; a missing one is reported as absent."""
    odd, gone = short_folder / "it's a $(name) *", short_folder / "gone"
    found = reap(start_master(), sockets=(left_over(odd), gone))
    assert found.sockets == {str(odd): "removed", str(gone): "absent"}
    assert not odd.exists()


def test_a_socket_with_a_listener_is_kept(start_master: StartMaster, short_folder: Path) -> None:
    """A socket with a listener is kept, under its own name and under a name through a link."""
    (short_folder / "real").mkdir()
    (short_folder / "alias").symlink_to("real")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(short_folder / "real" / "s"))
        sock.listen()
        paths = (short_folder / "real" / "s", short_folder / "alias" / "s")
        assert [*reap(start_master(), sockets=paths).sockets.values()] == ["busy", "busy"]
        assert paths[0].exists()


def test_a_file_that_is_no_socket_is_kept(start_master: StartMaster, short_folder: Path) -> None:
    """A file, a directory and a link are kept."""
    file, folder, link = short_folder / "file", short_folder / "folder", short_folder / "link"
    file.write_text("precious")
    folder.mkdir()
    link.symlink_to(left_over(short_folder / "socket"))
    assert set(reap(start_master(), sockets=(file, folder, link)).sockets.values()) == {"busy"}
    assert file.read_text() == "precious"
    assert link.is_symlink()


def test_another_users_socket_is_kept(start_master: StartMaster, short_folder: Path) -> None:
    """Another user's socket is kept, even by root."""
    if os.getuid() != 0:
        pytest.skip("only root can make another user's socket")
    path = left_over(short_folder / "theirs")
    os.chown(path, 65534, 65534)
    assert reap(start_master(), sockets=(path,)).sockets == {str(path): "busy"}
    assert path.exists()


def test_a_forced_command_reports_no_sessions(sshd: Sshd, start_master: StartMaster) -> None:
    """With a forced command, `own` and `reap` return None."""
    sshd.restart("ForceCommand /bin/true")
    path = str(start_master().path)
    assert asyncio.run(own_sessions.own(path)) is None
    assert asyncio.run(own_sessions.reap(path, [], [], timeout_s=10)) is None


@pytest.mark.parametrize(
    "words",
    ["", "12", "x a/b/c", "12 -", "12 a/b", "12 a/b/c/d", "0 a/b/c", "1 a/b/c", "-1 a/b/c", "12 a/b/$c"],
)
def test_a_line_without_a_mark_is_no_session(words: str) -> None:
    """A line without a valid mark gives no session."""
    assert parse_session(words) is None
    assert parse_session("12 a/b/c") == RemoteSession(12, "a/b/c")
    assert parse_session("123 mac.local//Sat_Nov_21_09:40:56_2026") == RemoteSession(
        123, "mac.local//Sat_Nov_21_09:40:56_2026"
    )
