"""Ending a master or an attempt ends all its processes, and no other process."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from trayagent.core.facts.masters import Master
from trayagent.ssh.master import end_master
from trayagent.ssh.master.end_master import abandon, end, end_session, ending_signal
from trayagent.ssh.os.carriers import Carrier, carriers_of
from trayagent.ssh.os.control_sockets import owner_of
from trayagent.ssh.os.process import Process, alive, descendants, kill_checked, read
from trayagent.ssh.os.suspended import any_stopped
from trayagent.ssh.os.tcp_connection import flow_of, transport_of

if TYPE_CHECKING:
    from tests.ssh.conftest import SshConfig, Sshd, StartMaster

DEADLINE_S = 20.0
NOTHING_IGNORED = (
    "env",
    "--default-signal=HUP,QUIT",
)  # a script that runs the tests with `&` ignores SIGQUIT


def until(what: str, condition: Callable[[], object]) -> None:
    """Poll until the condition is true."""
    limit = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.005)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Run an unrelated program of the user that has a child."""
    child = subprocess.Popen(["sh", "-c", "sleep 600 & wait"], start_new_session=True)
    until("it has no child", lambda: any(p.comm == "sleep" for p in descendants(child.pid)))
    yield child
    for process in (*descendants(child.pid), read(child.pid)):
        if process is not None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
    child.wait(DEADLINE_S)


@pytest.mark.parametrize("case", ["another program", "a recycled pid"])
def test_the_family_of_another_process_is_left_alone(bystander: subprocess.Popen[bytes], case: str) -> None:
    """If the pid now belongs to another program or process, that process and its children survive."""
    found = read(bystander.pid)
    assert found is not None
    family = descendants(bystander.pid)
    master = Master(bystander.pid, found.start_ticks, "/nonexistent/control-path")
    if case == "a recycled pid":
        master = replace(master, start_ticks=found.start_ticks - 1)
    asyncio.run(asyncio.wait_for(end(master, politely=False), DEADLINE_S))
    for process in (found, *family):
        assert alive(process.pid, process.start_ticks), f"{process.comm} was ended"
    assert bystander.poll() is None


# Handles these signals and SIGTERM as ssh does.
LIKE_SSH = """
import os, signal, sys
for name in sys.argv[1:]:
    signal.signal(signal.Signals[name], lambda *_: os._exit(255))
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print(flush=True)
signal.pause()
"""


@pytest.mark.parametrize(
    ("handled", "ends_by", "status"),
    [
        (["SIGHUP", "SIGQUIT"], signal.SIGHUP, 255),
        (["SIGQUIT"], signal.SIGQUIT, 255),
        ([], signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=["plain", "nohup", "nohup in a script, or logging in"],
)
def test_an_ssh_beside_a_master_ends_so_that_a_unit_starts_it_again(
    handled: list[str], ends_by: signal.Signals, status: int
) -> None:
    """A unit takes SIGHUP for success if ssh does not handle it. After SIGTERM, `ssh -N` itself exits with 0."""
    child = subprocess.Popen([*NOTHING_IGNORED, sys.executable, "-c", LIKE_SSH, *handled], stdout=-1)
    try:
        assert child.stdout is not None
        assert child.stdout.readline()
        found = read(child.pid)
        assert found is not None
        assert ending_signal(child.pid) == ends_by
        master = Master(child.pid, found.start_ticks, "", program=found.comm)
        asyncio.run(end_session(master))
        assert child.wait(DEADLINE_S) == status
    finally:
        child.kill()
        child.communicate()


def test_an_ssh_that_is_logging_in_ends_so_that_a_unit_starts_it_again() -> None:
    """Its connection is cut, so it exits with 255. If the system refuses that, SIGKILL ends it, never SIGHUP."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = ["ssh", "-F", "none", "-N", "-p", str(server.getsockname()[1]), "127.0.0.1"]
        child = subprocess.Popen([*NOTHING_IGNORED, *words], stderr=subprocess.DEVNULL)
        try:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                assert connection.recv(100).startswith(b"SSH-2.0-")
                found = read(child.pid)
                assert found is not None
                master = Master(
                    child.pid, found.start_ticks, "", local="127.0.0.1", peer="127.0.0.1", program=found.comm
                )
                asyncio.run(end_session(master))
                assert child.wait(DEADLINE_S) in {255, -signal.SIGKILL}
        finally:
            child.kill()
            child.wait()


@pytest.mark.parametrize("terminal", [False, True])
def test_an_ssh_of_autossh_is_killed_unless_it_reads_a_terminal(tmp_path: Path, terminal: bool) -> None:
    """If its first ssh soon exits with a status, autossh gives up. After a signal it never does."""
    program = tmp_path / "autossh"
    program.symlink_to("/bin/sh")
    near, far = os.openpty()
    stdin = far if terminal else subprocess.DEVNULL
    words = [str(program), "-c", '"$0" -c "$1" SIGHUP; :', sys.executable, LIKE_SSH]
    child = subprocess.Popen([*NOTHING_IGNORED, *words], stdin=stdin, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline()
        (ssh,) = descendants(child.pid)
        assert ending_signal(ssh.pid) == (signal.SIGHUP if terminal else signal.SIGKILL)
    finally:
        for process in descendants(child.pid):
            os.kill(process.pid, signal.SIGKILL)
        child.communicate()
        os.close(near)
        os.close(far)


@pytest.fixture
def attempt() -> Iterator[Callable[[str], Process]]:
    """Start shell commands as the agent starts an attempt, each in its own Unix session."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: str) -> Process:
        child = subprocess.Popen(["sh", "-c", command], start_new_session=True)
        started.append(child)
        found = read(child.pid)
        assert found is not None
        return found

    yield start
    for child in started:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait(DEADLINE_S)


def attempt_of(ssh_config: SshConfig, attempt: Callable[[str], Process], proxy: str) -> Process:
    """Start an ssh that cannot log in, because its ProxyCommand never answers. Return it once that command runs."""
    words = ssh_config.words("-M", "-N", "-o", f"ProxyCommand={proxy}", "box")
    process = attempt("exec " + shlex.join(words))
    until("it has no ProxyCommand", lambda: any(p.comm == "sleep" for p in descendants(process.pid)))
    return process


def test_the_program_of_a_proxy_command_ends_with_its_attempt(
    ssh_config: SshConfig, attempt: Callable[[str], Process]
) -> None:
    """An abandoned attempt ends the process that ssh started, even if it never reads the end of its input."""
    process = attempt_of(ssh_config, attempt, "sleep 600")
    (child,) = descendants(process.pid)
    asyncio.run(abandon(process))
    assert not alive(process.pid, process.start_ticks)
    until("the program ends", lambda: not alive(child.pid, child.start_ticks))


def test_an_attempt_starts_no_process_while_its_processes_are_listed(
    ssh_config: SshConfig, attempt: Callable[[str], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that starts after the list could not be found later."""
    process = attempt_of(ssh_config, attempt, "sleep 600")
    stopped: list[bool] = []

    def listed(pid: int) -> list[Carrier]:
        stopped.append(any_stopped([pid]))
        return carriers_of(pid)

    monkeypatch.setattr(end_master, "carriers_of", listed)
    asyncio.run(abandon(process))
    assert stopped == [True]


# A ProxyCommand that leaves an ssh to another host behind, as a master of its own.
LEAVES_HELPER = "{ssh} -M -N -S {helper} box </dev/null >/dev/null 2>&1 & exec nc %h %p"


@pytest.mark.parametrize("how", ["ended", "abandoned"])
def test_a_helper_that_a_proxy_command_left_outlives_the_master(
    ssh_config: SshConfig, start_master: StartMaster, how: str
) -> None:
    """The helper carries other sessions. It is no part of the connection, and no signal reaches it."""
    helper = ssh_config.folder / "h"
    command = LEAVES_HELPER.format(ssh=shlex.join(ssh_config.words()), helper=helper)
    master = start_master("-o", f"ProxyCommand={command}").process
    until("the helper listens", helper.exists)
    pid = owner_of(str(helper))
    found, left = read(master.pid), read(pid or 0)
    assert found is not None
    assert left is not None
    (carrier,) = transport_of(master.pid)
    assert left in descendants(carrier.pid)
    flow = flow_of(master.pid)
    assert flow is not None
    assert flow.others == ()
    try:
        if how == "ended":
            asyncio.run(
                end(Master(master.pid, found.start_ticks, str(ssh_config.control_path)), politely=False)
            )
        else:
            asyncio.run(abandon(found))
        master.wait(DEADLINE_S)
        assert not alive(carrier.pid, carrier.start_ticks)
        assert ssh_config.run("-S", str(helper), "box", "echo there").stdout == "there\n"
        assert alive(left.pid, left.start_ticks)
    finally:
        kill_checked(left.pid, left.start_ticks, None, signal.SIGKILL)


def test_the_ssh_of_a_jump_host_ends_with_its_master(
    sshd: Sshd, ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """An `ssh -W` waits forever for a server that is silent, and nothing else uses it."""
    ssh = shlex.join(ssh_config.words())
    # The shell stays its parent, so ssh itself would not have ended it.
    master = start_master("-o", f"ProxyCommand={ssh} -S none -W [%h]:%p box; true").process
    found = read(master.pid)
    assert found is not None
    (jump,) = (one for one in transport_of(master.pid) if one.comm == "ssh")
    frozen = sshd.pids()
    for pid in frozen:
        with suppress(ProcessLookupError):  # one of an earlier test may just end
            os.kill(pid, signal.SIGSTOP)
    try:
        asyncio.run(end(Master(master.pid, found.start_ticks, str(ssh_config.control_path)), politely=False))
        assert not alive(jump.pid, jump.start_ticks)
    finally:
        for pid in frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


# A ProxyCommand that leaves a program behind which serves others, and which has the pipes to ssh, too.
LEAVES_SERVICE = """
import os, subprocess, sys
subprocess.Popen(["socat", "TCP-LISTEN:" + sys.argv[1] + ",bind=127.0.0.1,fork", "TCP:127.0.0.1:" + sys.argv[2]])
os.execvp("nc", ["nc", *sys.argv[3:]])
"""


def free_port() -> int:
    """Return a TCP port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_service_with_the_pipes_to_ssh_outlives_the_master(
    ssh_config: SshConfig, start_master: StartMaster, tmp_path: Path
) -> None:
    """Nothing shows which of several processes with the pipes carries the ssh, so none is killed."""
    script = tmp_path / "leaves-service"
    script.write_text(LEAVES_SERVICE)
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as served:
        words = [sys.executable, str(script), str(port), str(served.getsockname()[1])]
        master = start_master("-o", f"ProxyCommand={shlex.join(words)} %h %p").process
        found = read(master.pid)
        assert found is not None
        service = next(one for one in descendants(master.pid) if one.comm == "socat")
        try:
            with socket.create_connection(("127.0.0.1", port)) as used, served.accept()[0] as answers:
                asyncio.run(
                    end(Master(master.pid, found.start_ticks, str(ssh_config.control_path)), politely=False)
                )
                master.wait(DEADLINE_S)
                used.sendall(b"x")
                assert answers.recv(1) == b"x"
                answers.sendall(b"y")
                assert used.recv(1) == b"y"
        finally:
            for one in (*descendants(service.pid), service):
                kill_checked(one.pid, one.start_ticks, None, signal.SIGKILL)


def test_a_jump_host_s_own_master_outlives_the_master_behind_it(
    ssh_config: SshConfig, start_master: StartMaster
) -> None:
    """An `ssh -W` left a master in the background (ControlPersist), which uses the next ssh, too."""
    left = ssh_config.folder / "j"
    ssh = shlex.join(ssh_config.words())
    first = f"{ssh} -S none -W [%h]:%p box"
    options = f"-o ControlMaster=auto -o ControlPersist=60 -S {left}"
    jump = f"{ssh} {options} -o {shlex.quote(f'ProxyCommand={first}')} -W [%h]:%p box".replace("%", "%%", 2)
    master = start_master("-o", f"ProxyCommand={jump}").process
    until("the jump host has its own master", left.exists)
    pid = owner_of(str(left))
    found, behind = read(master.pid), read(pid or 0)
    assert found is not None
    assert behind is not None
    try:
        asyncio.run(end(Master(master.pid, found.start_ticks, str(ssh_config.control_path)), politely=False))
        master.wait(DEADLINE_S)
        assert ssh_config.run("-S", str(left), "box", "echo there").stdout == "there\n"
        assert alive(behind.pid, behind.start_ticks)
    finally:
        kill_checked(behind.pid, behind.start_ticks, None, signal.SIGKILL)
