"""A living master gives its control path to a new master, and its sessions continue."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ssh.conftest import DEADLINE_S, poll
from trayagent.core.facts.masters import Master
from trayagent.ssh.master import stop_listening
from trayagent.ssh.mux.client import LOCAL_S
from trayagent.ssh.mux.forward import MuxForward
from trayagent.ssh.new_control_path import fresh_for, remove_fresh
from trayagent.ssh.os.carried import Carried
from trayagent.ssh.os.control_sockets import listening, owner_of
from trayagent.ssh.os.process import alive, read
from trayagent.ssh.os.swap_files import exchange

if TYPE_CHECKING:
    from tests.ssh.conftest import SshConfig, StartMaster


def session(ssh_config: SshConfig) -> subprocess.Popen[bytes]:
    """Start a session that echoes, and wait until it runs."""
    words = ssh_config.words("box", "echo up; exec cat")
    child = subprocess.Popen(words, env=ssh_config.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    return child


def still_echoes(child: subprocess.Popen[bytes]) -> bool:
    """Report whether a session echoes a line."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"line\n")
    child.stdin.flush()
    return child.stdout.readline() == b"line\n"


def by_hand(ssh_config: SshConfig) -> int:
    """Start a master as ControlMaster auto with ControlPersist does, and return its pid."""
    path = str(ssh_config.control_path)
    done = ssh_config.run("-M", "-S", path, "-o", "ControlPersist=60", "box", "true")
    assert done.returncode == 0, done.stderr
    return next(s.pid for s in listening(os.getuid()) if s.path == path)


def take_over(
    new: Path, path: Path, pid: int, *, unlinks_path: bool, forwards: tuple[MuxForward, ...] = ()
) -> None:
    """Put the socket `new` in place of the master `pid`, and stop that master."""
    name = stop_listening.second_name(str(path))
    assert exchange(str(new), str(path))
    remove_fresh(str(new))
    try:
        asyncio.run(
            stop_listening.stop(name, pid, str(path), forwards, unlinks_path=unlinks_path, wait_s=DEADLINE_S)
        )
    finally:
        remove_fresh(name)


@pytest.mark.parametrize("started", ["by the agent", "by hand"])
def test_a_stopped_master_ends_with_its_last_session(
    ssh_config: SshConfig, start_master: StartMaster, started: str
) -> None:
    """The new master has the path.

    The old master's session continues, and the old master exits with it, without a file.
    """
    if started == "by hand":
        pid = by_hand(ssh_config)
    else:
        first = start_master(path=ssh_config.folder / "m.1")
        first.path.rename(ssh_config.control_path)
        pid = first.process.pid
    process = read(pid)
    assert process is not None
    child = session(ssh_config)
    new = start_master(path=Path(fresh_for(str(ssh_config.control_path))))
    take_over(new.path, ssh_config.control_path, pid, unlinks_path=started == "by hand")
    assert owner_of(str(ssh_config.control_path)) == new.process.pid
    master = Master(pid, process.start_ticks, "", started_by_agent=started == "by the agent")
    assert stop_listening.carried(master) == Carried(sessions=1)
    assert still_echoes(child)
    later = session(ssh_config)
    assert stop_listening.carried(master) == Carried(sessions=1)
    child.communicate()
    poll(lambda: not alive(pid, process.start_ticks), "the old master ends by itself")
    assert owner_of(str(ssh_config.control_path)) == new.process.pid
    assert still_echoes(later)
    later.communicate()
    assert [p.name for p in ssh_config.folder.glob("m*") if p.is_socket()] == ["m"]


def test_a_master_with_a_session_of_its_own_carries_it(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """The session of the ssh that became the master counts as a session, and the master ends with it."""
    words = ssh_config.words("-M", "-S", str(ssh_config.control_path), "box", "echo up; exec cat")
    child = subprocess.Popen(words, env=ssh_config.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    new = start_master(path=Path(fresh_for(str(ssh_config.control_path))))
    take_over(new.path, ssh_config.control_path, child.pid, unlinks_path=True)
    process = read(child.pid)
    assert process is not None
    assert stop_listening.carried(Master(child.pid, process.start_ticks, "")) == Carried(sessions=1)
    assert still_echoes(child)
    child.communicate()
    assert child.wait(DEADLINE_S) == 0
    assert owner_of(str(ssh_config.control_path)) == new.process.pid


def test_a_master_that_is_slow_to_answer_is_stopped(ssh_config: SshConfig, start_master: StartMaster) -> None:
    """`stop` waits longer for a master's answer than other local requests, because a busy machine may need that."""
    first = start_master(path=ssh_config.folder / "m.1")
    first.path.rename(ssh_config.control_path)
    child = session(ssh_config)
    new = start_master(path=Path(fresh_for(str(ssh_config.control_path))))
    first.process.send_signal(signal.SIGSTOP)
    later = threading.Timer(LOCAL_S + 0.5, first.process.send_signal, [signal.SIGCONT])
    later.start()
    try:
        take_over(new.path, ssh_config.control_path, first.process.pid, unlinks_path=False)
    finally:
        later.join()
    assert still_echoes(child)
    child.communicate()
    assert first.process.wait(DEADLINE_S) is not None


def test_the_remote_port_is_free_at_the_server_afterwards(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """After the stop, a new master may request the old one's remote port and local port at once."""
    first = start_master(path=ssh_config.folder / "m.1")
    first.path.rename(ssh_config.control_path)
    child = session(ssh_config)
    opened = ssh_config.run("-O", "forward", "-R", "0:127.0.0.1:9", "box")
    port = int(opened.stdout)
    forward = MuxForward("remote", "", port, "127.0.0.1", 9)
    ssh_config.run("-O", "cancel", "-R", "0:127.0.0.1:9", "box")
    assert ssh_config.run("-O", "forward", "-R", f"{port}:127.0.0.1:9", "box").returncode == 0
    new = start_master(path=Path(fresh_for(str(ssh_config.control_path))))
    take_over(new.path, ssh_config.control_path, first.process.pid, unlinks_path=False, forwards=(forward,))
    again = ssh_config.run("-O", "forward", "-R", f"{port}:127.0.0.1:9", "box")
    assert again.returncode == 0, again.stderr
    assert still_echoes(child)
    child.communicate()


@pytest.mark.parametrize("started", ["by the agent", "by hand"])
def test_no_client_fails_while_masters_change(
    ssh_config: SshConfig, start_master: StartMaster, started: str
) -> None:
    """All clients in a loop succeed while one master after another takes over the path."""
    pid = by_hand(ssh_config) if started == "by hand" else 0
    if not pid:
        first = start_master(path=ssh_config.folder / "m.1")
        first.path.rename(ssh_config.control_path)
        pid = first.process.pid
    failed: list[str] = []
    count, done = 0, threading.Event()

    def hammer() -> None:
        nonlocal count
        while not done.is_set():
            result = ssh_config.run("box", "echo up")
            count += 1
            if (result.returncode, result.stdout) != (0, "up\n"):
                failed.append(f"{result.returncode} {result.stderr}")

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    by_user = started == "by hand"
    try:
        for number in range(6):
            new = start_master(path=ssh_config.folder / f"m.n{number}")
            take_over(new.path, ssh_config.control_path, pid, unlinks_path=by_user)
            pid, by_user = new.process.pid, False
            enough = count + 4
            while count < enough and not failed:
                time.sleep(0.01)
    finally:
        done.set()
        for thread in threads:
            thread.join(DEADLINE_S)
    assert not failed
