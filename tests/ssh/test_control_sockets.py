"""The control sockets of real masters, and the processes that own them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.ssh.conftest import poll
from trayagent.netlink.unix_diag import UnixSocket, unix_sockets
from trayagent.ssh.os import linux_control_sockets
from trayagent.ssh.os.control_sockets import ControlSocket, clients_of, listening, owner_of
from trayagent.ssh.os.linux_process import read, socket_inodes, ssh_pids

if TYPE_CHECKING:
    from tests.ssh.conftest import SshConfig, StartMaster

DEADLINE_S = 20.0


def mine(folder: Path) -> list[ControlSocket]:
    """Return this user's control sockets in one directory, because other tests may run masters, too."""
    return [s for s in listening(os.getuid()) if s.bind_path.startswith(f"{folder}/")]


def test_a_master_is_found_with_both_names(ssh_config: SshConfig, start_master: StartMaster) -> None:
    """A master is found with its bind name, which ends in 16 random characters, and with its path."""
    master = start_master()
    (found,) = mine(ssh_config.folder)
    assert found.path == found.bind_stem == str(master.path)
    assert found.bind_path.startswith(f"{master.path}.")
    assert len(found.bind_path) == len(str(master.path)) + 17
    assert (found.pid, found.present) == (master.process.pid, True)
    assert found.inode in socket_inodes(found.pid)
    assert owner_of(found.path) == found.pid


def test_a_renamed_control_socket_is_found_where_it_is(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """A renamed control socket is found by its inode, although the kernel reports the old name."""
    master = start_master(path=ssh_config.folder / "m.1")
    renamed = master.path.rename(ssh_config.control_path)
    (found,) = mine(ssh_config.folder)
    assert found.path == str(renamed)
    assert found.bind_stem == str(master.path)
    assert owner_of(str(renamed)) == master.process.pid
    assert owner_of(str(master.path)) is None


def test_a_control_socket_without_its_file_is_not_present(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """A control socket whose file was removed is reported as not present."""
    master = start_master()
    master.path.unlink()
    (found,) = mine(ssh_config.folder)
    assert (found.path, found.present) == (str(master.path), False)


def test_a_master_in_the_background_is_found(ssh_config: SshConfig) -> None:
    """A master in the background is found with its own pid, not with that of the parent that called listen()."""
    done = ssh_config.run("-M", "-S", str(ssh_config.control_path), "-o", "ControlPersist=60", "box", "true")
    assert done.returncode == 0, done.stderr
    (found,) = mine(ssh_config.folder)
    try:
        process = read(found.pid)
        assert process is not None
        assert process.comm == "ssh"
        assert process.argv == (f"ssh: {ssh_config.control_path} [mux]",)
    finally:
        assert ssh_config.run("-O", "exit", "box").returncode == 0


def test_a_forwarded_unix_socket_is_no_control_socket(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """A forwarded Unix socket on which a master listens is not reported as a control socket."""
    start_master()
    listen = ssh_config.folder / "fwd"
    assert ssh_config.run("-O", "forward", "-L", f"{listen}:127.0.0.1:9", "box").returncode == 0
    assert [Path(s.path).name for s in mine(ssh_config.folder)] == [ssh_config.control_path.name]
    assert owner_of(str(listen)) is not None


def test_the_owner_need_not_be_an_ssh(short_folder: Path) -> None:
    """If another program listens on a control path, its pid is returned; a plain file or a missing one gives None."""
    path = short_folder / "m"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert owner_of(str(path)) == os.getpid()
    assert owner_of(str(path)) is None
    (short_folder / "file").touch()
    assert owner_of(str(short_folder / "file")) is None
    assert owner_of(str(short_folder / "none")) is None


def test_a_link_and_a_file_of_another_user_give_no_owner(short_folder: Path) -> None:
    """A symbolic link and another user's file give no owner: anyone can create them in a directory like /tmp."""
    path, link = short_folder / "m", short_folder / "link"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        link.symlink_to(path)
        assert owner_of(str(link)) is None
        assert owner_of(str(path)) == os.getpid()
        if os.getuid() == 0:
            os.chown(path, 65534, 65534)
            assert owner_of(str(path)) is None


def test_another_users_masters_are_not_shown(ssh_config: SshConfig, start_master: StartMaster) -> None:
    """Masters of another user are not returned."""
    start_master()
    assert mine(ssh_config.folder)
    assert listening(os.getuid() + 12345) == []


def test_all_masters_are_found_within_milliseconds(ssh_config: SshConfig, start_master: StartMaster) -> None:
    """Finding all masters takes a few milliseconds in the best of several runs."""
    for number in range(3):
        start_master(path=ssh_config.folder / f"m{number}")
    best_s = 10.0
    for _ in range(10):
        begin = time.perf_counter()
        assert len(mine(ssh_config.folder)) == 3
        best_s = min(best_s, time.perf_counter() - begin)
    assert best_s < 0.05


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_owners_of_known_sockets_need_no_search(
    ssh_config: SshConfig, start_master: StartMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known owners and new children of this process are found without a search of all processes."""
    masters = [start_master(path=ssh_config.folder / f"m{number}") for number in range(3)]
    searches: list[int] = []

    def counted(uid: int) -> Iterator[int]:
        searches.append(uid)
        yield from ssh_pids(uid)

    monkeypatch.setattr(linux_control_sockets, "ssh_pids", counted)
    monkeypatch.setattr(linux_control_sockets, "_TRUSTED_S", 600.0)
    for master in masters:
        assert owner_of(str(master.path)) == master.process.pid
    for master in masters:
        assert owner_of(str(master.path)) == master.process.pid
    assert searches == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_known_file_needs_no_list_of_sockets(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of a known socket is found by one request; a new socket at the same path gets its own owner."""
    path = short_folder / "m"
    lists: list[object] = []

    def counted(*args: Any, **options: Any) -> list[UnixSocket]:
        lists.append(args)
        return unix_sockets(*args, **options)

    monkeypatch.setattr(linux_control_sockets, "unix_sockets", counted)
    for _ in range(2):
        lists.clear()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            assert [owner_of(str(path)) for _ in range(3)] == [os.getpid()] * 3
        assert len(lists) == 1
        path.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_known_owner_that_closed_its_socket_is_not_believed(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the known holder ends, another holder is found at once, or none if no process holds the socket."""
    monkeypatch.setattr(linux_control_sockets, "_TRUSTED_S", 600.0)
    program = short_folder / "ssh"
    shutil.copy("/bin/sleep", program)
    path = short_folder / "m"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.0123456789abcdef")
        listener.listen()
        Path(f"{path}.0123456789abcdef").rename(path)
        started = [subprocess.Popen([str(program), "600"], pass_fds=[listener.fileno()]) for _ in range(2)]
    try:
        for one in started:  # the first search is cached, so both processes must already run their program
            poll(partial(_runs_ssh, one.pid), "the program runs")
        for known, other in ((started[1], started[0]), (started[0], None)):
            await_owner(short_folder, known.pid)
            known.kill()
            known.wait(DEADLINE_S)
            assert owner_of(str(path)) == (other.pid if other is not None else None)
    finally:
        for one in started:
            one.kill()
            one.wait(DEADLINE_S)


def _runs_ssh(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text() == "ssh\n"


def await_owner(folder: Path, pid: int) -> None:
    """Wait until this process counts as the owner, because its name is set a moment after Popen returns."""
    end = time.monotonic() + DEADLINE_S
    while [s.pid for s in mine(folder)] != [pid]:
        assert time.monotonic() < end, mine(folder)
        time.sleep(0.002)


def test_the_younger_of_two_holders_is_the_master(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If two processes hold a socket, the younger counts as the master, because the other is its forking parent."""
    if (
        sys.platform == "linux"
    ):  # a child of the agent does not fork, so the agent believes in it from the start
        monkeypatch.setattr(linux_control_sockets, "children_of", lambda _pid: [])
    program = short_folder / "ssh"
    shutil.copy("/bin/sleep", program)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_folder / "m.0123456789abcdef"))
        listener.listen()
        (short_folder / "m.0123456789abcdef").rename(short_folder / "m")
        words = [str(program), "600"]
        started = [subprocess.Popen(words, pass_fds=[listener.fileno()]) for _ in range(2)]
        try:
            await_owner(short_folder, started[1].pid)
            started[1].kill()
            started[1].wait(DEADLINE_S)
            await_owner(short_folder, started[0].pid)
        finally:
            for one in started:
                one.kill()
                one.wait(DEADLINE_S)


def test_connections_of_other_processes_are_counted(ssh_config: SshConfig, start_master: StartMaster) -> None:
    """Each client of a master counts, also after a rename of the socket, but not this process's own connections."""
    master = start_master()
    assert clients_of(str(master.path)) == 0
    other = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(); input()"
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(str(master.path))
        words = [sys.executable, "-c", other, str(master.path)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdin is not None
            child.stdout.readline()
            renamed = master.path.rename(ssh_config.folder / "elsewhere")
            # The kernel does not list a connection that the master has not accepted yet.
            poll(lambda: clients_of(str(renamed)) == 1, "the client counts")
            child.stdin.close()
    assert clients_of(str(master.path)) is None
