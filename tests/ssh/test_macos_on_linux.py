"""The macOS modules, which use ps, lsof and the masters themselves, compared with the Linux modules.

Both must give the same results for the same living masters. Only kqueue has no counterpart on Linux.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trayagent.ssh.os import (
    linux_carried,
    linux_control_sockets,
    linux_listeners,
    linux_process,
    linux_suspended,
    linux_tcp_connection,
    macos_carried,
    macos_control_sockets,
    macos_listeners,
    macos_process,
    macos_suspended,
    macos_tcp_connection,
)
from trayagent.ssh.os.types import Carried, ControlSocket

if TYPE_CHECKING:
    from tests.ssh.conftest import SshConfig, StartMaster


@pytest.fixture(autouse=True)
def _tools() -> None:
    """Skip if ps or lsof is missing; fail in CI."""
    missing = [tool for tool in ("ps", "lsof") if shutil.which(tool) is None]
    if missing:
        assert not os.environ.get("CI"), f"CI has no {missing}"
        pytest.skip(f"needs {', '.join(missing)}")


def mine(found: list[ControlSocket], folder: Path) -> list[tuple[str, str, int, bool]]:
    """Return the facts of the control sockets in one directory, without the kernel's numbers."""
    return [(s.bind_path, s.path, s.pid, s.present) for s in found if s.path.startswith(f"{folder}/")]


def test_a_suspended_process_shows_on_both(start_master: StartMaster) -> None:
    """Both modules report a suspended process among running ones. A process that has ended is not suspended."""
    pid = start_master().process.pid
    for look in (linux_suspended.any_stopped, macos_suspended.any_stopped):
        assert not look([os.getpid(), pid, 2**22])
        os.kill(pid, signal.SIGSTOP)
        limit = time.monotonic() + 5
        while not look([os.getpid(), pid]):
            assert time.monotonic() < limit
        os.kill(pid, signal.SIGCONT)
        while look([pid]):
            assert time.monotonic() < limit


def test_ps_gives_the_same_process_as_proc(start_master: StartMaster) -> None:
    """The output of ps and /proc give the same parent, owner, name and words, and the same start time to the second."""
    master = start_master()
    told, known = macos_process.read(master.process.pid), linux_process.read(master.process.pid)
    assert told is not None
    assert known is not None
    assert (told.pid, told.comm, told.uid, told.ppid, told.argv) == (
        known.pid, known.comm, known.uid, known.ppid, known.argv,
    )  # fmt: skip
    assert abs(macos_process.age_s(told) - linux_process.age_s(known)) < 3
    assert told.pid in {p.pid for p in macos_process.ssh_processes(os.getuid())}
    assert told.pid in {p.pid for p in macos_process.descendants(os.getpid())}


def test_a_process_is_killed_only_with_its_start_time_and_name(start_master: StartMaster) -> None:
    """A process is killed only with the right start time and name; a zombie counts as gone."""
    master = start_master()
    found = macos_process.read(master.process.pid)
    assert found is not None
    pid, started = found.pid, found.start_ticks
    assert macos_process.alive(pid, started)
    assert not macos_process.alive(pid, started - 1)
    assert macos_process.kill_checked(pid, started - 1, {"ssh"}, signal.SIGKILL) == "other"
    assert macos_process.kill_checked(pid, started, {"sshd"}, signal.SIGKILL) == "other"
    assert macos_process.kill_checked(pid, started, {"ssh"}, signal.SIGKILL) == "sent"
    until = time.monotonic() + 20
    while macos_process.alive(pid, started) and time.monotonic() < until:
        time.sleep(0.01)
    assert macos_process.read(pid) is None  # the process is a zombie now
    master.process.wait()
    assert macos_process.kill_checked(pid, started, {"ssh"}, signal.SIGKILL) == "gone"


def test_a_new_time_zone_does_not_change_a_start_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of time zone or language does not change a start time, because ps runs in UTC and the C locale."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    found, known = macos_process.read(os.getpid()), linux_process.read(os.getpid())
    assert found is not None
    assert known is not None
    assert abs(macos_process.age_s(found) - linux_process.age_s(known)) < 3
    ps = tmp_path / "ps"
    ps.write_text('#!/bin/sh\necho "7 1 501 S Sat Nov 21 09:05:07 2026 sh $TZ $LC_ALL"\n')
    ps.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    told = macos_process.read(7)
    assert told is not None
    assert told.argv == ("UTC", "C")


def test_masters_are_found_by_their_present_path(ssh_config: SshConfig, start_master: StartMaster) -> None:
    """Masters are found under their own name, renamed by a take-over, without their file, and in the background."""
    start_master()
    moved = start_master(path=ssh_config.folder / "m.1")
    moved.path.rename(ssh_config.folder / "there")
    gone = start_master(path=ssh_config.folder / "gone")
    gone.path.unlink()
    start_master(path=ssh_config.folder / "taken")
    start_master(path=ssh_config.folder / "taken.1").path.rename(ssh_config.folder / "taken")
    behind = str(ssh_config.folder / "behind")
    assert ssh_config.run("-M", "-S", behind, "-o", "ControlPersist=60", "box", "true").returncode == 0
    try:
        told = mine(macos_control_sockets.listening(os.getuid()), ssh_config.folder)
        known = mine(linux_control_sockets.listening(os.getuid()), ssh_config.folder)
        assert sorted(told) == sorted(known)
        assert len(told) == 6
        for path in ssh_config.folder.iterdir():
            if path.is_socket():
                owner = macos_control_sockets.owner_of(str(path))
                assert owner == linux_control_sockets.owner_of(str(path))
    finally:
        assert ssh_config.run("-S", behind, "-O", "exit", "box").returncode == 0


def test_a_listener_that_is_no_master_gets_no_bytes(short_folder: Path) -> None:
    """A listener that is no master receives nothing; without a listener there is no owner."""
    path = short_folder / "other"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        owner = macos_control_sockets.owner_of(str(path))
        assert owner == (os.getpid() if sys.platform == "darwin" else None)
        heard, _ = other.accept()
        with heard:
            assert heard.recv(100) == b""
    assert macos_control_sockets.owner_of(str(path)) is None
    assert macos_control_sockets.owner_of(str(short_folder)) is None


def test_lsof_gives_the_connection_that_carries_a_master(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """The output of lsof gives the master's own connection, not a forwarded one."""
    master = start_master()
    with socket.create_server(("127.0.0.1", 0)) as target:
        listen = ssh_config.folder / "fwd"
        ssh_config.run("-O", "forward", "-L", f"{listen}:127.0.0.1:{target.getsockname()[1]}", "box")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(listen))
            with target.accept()[0]:
                told = macos_tcp_connection.flow_of(master.process.pid)
    known = linux_tcp_connection.flow_of(master.process.pid)
    assert told is not None
    assert known is not None
    assert (told.local_ip, told.local_port, told.peer_ip, told.peer_port, told.via) == (
        known.local_ip, known.local_port, known.peer_ip, known.peer_port, known.via,
    )  # fmt: skip


def test_lsof_gives_the_listeners(ssh_config: SshConfig, start_master: StartMaster) -> None:
    """The output of lsof gives a master's local forwards in both address families, and the port of another process."""
    master = start_master()
    with socket.create_server(("0.0.0.0", 0)) as other:  # noqa: S104  # to see how a wildcard is reported
        free = socket.create_server(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        ssh_config.run("-O", "forward", "-L", f"{port}:127.0.0.1:9", "box")
        told = macos_listeners.tcp_listeners(master.process.pid)
        assert told.own == linux_listeners.tcp_listeners(master.process.pid).own
        assert ("127.0.0.1", port) in told.own
        assert told.own.isdisjoint(told.others)
        assert ("0.0.0.0", other.getsockname()[1]) in told.others  # noqa: S104  # to see how a wildcard is reported


def test_lsof_gives_what_a_master_carries(ssh_config: SshConfig, start_master: StartMaster) -> None:
    """The output of lsof gives the same number of sessions and of connections through a TCP port."""
    pid = start_master().process.pid
    with socket.create_server(("127.0.0.1", 0)) as target, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        ssh_config.run("-O", "forward", "-L", f"{port}:127.0.0.1:{target.getsockname()[1]}", "box")
        words = ssh_config.words("box", "echo up; exec cat")
        child = subprocess.Popen(words, env=ssh_config.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        with socket.create_connection(("127.0.0.1", port)), target.accept()[0]:
            told = macos_carried.carried_by(pid)
            assert told == linux_carried.carried_by(pid) == Carried(1, 1)
        child.communicate()
