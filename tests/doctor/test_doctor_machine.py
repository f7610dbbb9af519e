"""The findings about this machine: the agent, ports, the ssh-agent, start at login, files, and checks that fail."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.doctor.patient import DEADLINE_S, SOURCE, Patient, keygen, no_root, script
from tests.lab.matrix import alive
from trayagent.config import file_paths
from trayagent.desktop.autostart import linux_systemd
from trayagent.doctor import autostart as login
from trayagent.doctor import ssh_program
from trayagent.doctor.deadlines import each
from trayagent.doctor.findings import Finding, ok
from trayagent.doctor.gather_facts import Case
from trayagent.doctor.run_checks import carry_out
from trayagent.netlink.errors import NetlinkError

NOBODY = 65534
OLDER = "0.0.9"


@contextmanager
def manager(patient: Patient) -> Iterator[None]:
    """Pretend that systemd's user manager runs: its socket is bound, but does not listen, so units are only written."""
    (patient.run_dir / "systemd").mkdir()
    with socket.socket(socket.AF_UNIX) as private:
        private.bind(str(patient.run_dir / "systemd" / "private"))
        yield


# The agent.


def test_an_agent_of_another_version_is_reported(patient: Patient) -> None:
    """An agent of an older version must be restarted after an update. The test runs it from a copy of the package."""
    older = patient.folder / "older"
    shutil.copytree(SOURCE / "trayagent", older / "trayagent", ignore=shutil.ignore_patterns("__pycache__"))
    (older / "trayagent" / "__init__.py").write_text(f'"""Older."""\n\n__version__ = "{OLDER}"\n')
    patient.configure("")
    with patient.agent(older):
        found = patient.examine().one("agent-outdated", "advice", "agent")
    assert f"Trayagent {OLDER} is running" in found["title"]
    assert found["lines"] == ["trayagent stop; trayagent run"]


def test_a_running_agent_is_reported_with_its_pid_and_its_pause(patient: Patient) -> None:
    """The finding has the agent's pid, and a pause is reported with the command that ends it."""
    patient.configure("")
    with patient.agent() as child:
        assert f"pid {child.pid}" in patient.examine().well("agent")["title"]
        assert patient.command("pause").returncode == 0
        assert patient.examine().one("agent-paused", "advice", "agent")["lines"] == ["trayagent resume"]


def test_no_agent_is_advice_until_it_should_have_started(patient: Patient) -> None:
    """A missing agent is advice, or a problem if systemd should have started it. A desktop starts it only once."""
    assert patient.examine().one("agent-absent", "advice", "agent")["lines"] == ["trayagent run"]
    assert patient.command("install").returncode == 0
    found = patient.examine().one("agent-absent", "advice", "agent")
    assert found["lines"] == ["trayagent run"]
    assert "next desktop session" in found["why"]
    with manager(patient):
        assert patient.command("install").returncode == 0
        found = patient.examine().one("agent-ended", "problem", "agent")
        assert "systemctl --user start trayagent" in found["lines"]
        (patient.folder / "bin").mkdir()
        # The manager never started the unit.
        systemctl = script(patient.folder / "bin" / "systemctl", "echo 0")
        new = patient.examine(PATH=f"{systemctl.parent}:{os.environ['PATH']}")
    found = new.one("agent-absent", "advice", "agent")
    assert found["lines"] == ["systemctl --user start trayagent"]


def test_an_agent_that_does_not_answer_is_a_problem(patient: Patient) -> None:
    """For an agent that does not answer (a signal stopped it here), the finding explains how to end it."""
    patient.configure("")
    with patient.agent() as child:
        child.send_signal(signal.SIGSTOP)
        try:
            found = patient.examine().one("agent-silent", "problem", "agent")
        finally:
            child.send_signal(signal.SIGCONT)
    assert "trayagent stop" in found["remedy"]


# Ports.


def test_a_taken_port_is_a_problem_with_the_name_of_its_holder(patient: Patient) -> None:
    """The finding names the program and the command that ends it. A program on another address is not reported."""
    with patient.listener("tcp", "0") as (pid, port):
        patient.configure(f'[hosts.box]\nlocal = ["{port}:localhost:80"]\n')
        found = patient.examine().one("port-taken", "problem", "ports")
        patient.configure(f'[hosts.box]\nlocal = ["127.0.0.2:{port}:localhost:80"]\n')
        assert "1 local, each free" in patient.examine().well("ports")["title"]
        holder = Path(f"/proc/{pid}/comm").read_text().strip()
    assert f"belongs to {holder}" in found["title"]
    assert f"(pid {pid})" in found["title"]
    assert found["lines"] == [f"kill {pid}"]


def test_a_process_that_autossh_would_restart_is_ended_through_autossh(patient: Patient) -> None:
    """The finding names autossh, because it would restart its ssh."""
    autossh = script(patient.folder / "autossh", '"$@"; exit $?')
    with patient.listener("tcp", "0", under=[str(autossh)]) as (pid, port):
        patient.configure(f'[hosts.box]\ndynamic = ["{port}"]\n')
        found = patient.examine().one("port-taken", "problem", "ports")
    assert f"of autossh (pid {pid})" in found["title"]
    assert found["lines"] == [f"kill {pid}"]


def test_a_loop_that_would_restart_a_process_is_ended_with_it(patient: Patient) -> None:
    """The finding names the script, and its command ends the script first."""
    loop = script(patient.folder / "loop.sh", '"$@"; sleep 1')
    with patient.listener("tcp", "0", under=[str(loop)]) as (pid, port):
        patient.configure(f'[hosts.box]\ndynamic = ["{port}"]\n')
        found = patient.examine().one("port-taken", "problem", "ports")
    assert f"of “/bin/sh {loop}" in found["title"]
    assert f"(pid {pid})" in found["title"]
    assert re.fullmatch(rf"kill {pid} \d+", found["lines"][0])


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else here")
def test_a_port_of_another_user_is_a_problem_without_a_name(patient: Patient) -> None:
    """The kernel shows the owner of a port to everybody, but the program only to its owner and to root."""
    with patient.listener("tcp", "0") as (_, port):
        patient.configure(f'[hosts.box]\nlocal = ["{port}:localhost:80"]\n')
        found = patient.examine(under=no_root()).one("port-taken", "problem", "ports")
    assert "a program of another user (uid " in found["title"]
    assert found["lines"] == [f"sudo ss -ltnp sport = :{port}"]


def test_a_port_of_root_is_a_problem_for_everybody_else(patient: Patient) -> None:
    """The finding has the sysctl setting that allows the port."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 81:
        pytest.skip("everybody may listen on port 80 here")
    patient.configure('[hosts.box]\nlocal = ["80:localhost:80"]\n')
    found = patient.examine(under=no_root()).one("port-privileged", "problem", "ports")
    assert found["lines"] == ["sudo sysctl net.ipv4.ip_unprivileged_port_start=80"]


def test_a_socket_in_the_way_of_a_forward_is_reported(patient: Patient) -> None:
    """A used socket is a problem, and a left-over socket is advice.

    If ssh removes such sockets, neither is reported.
    """
    path = patient.folder / "app.sock"
    patient.configure(f'[hosts.box]\nlocal = ["{path}:/run/app.sock"]\n')
    assert patient.examine().well("ports")
    with patient.listener("unix", str(path)) as (pid, _):
        found = patient.examine().one("socket-taken", "problem", "ports")
        assert found["lines"] == [f"kill {pid}"]
    left = patient.examine().one("socket-left", "advice", "ports")
    assert "no program listens there" in left["title"]
    patient.ssh(StreamLocalBindUnlink="yes")
    assert patient.examine().well("ports")
    path.unlink()
    path.touch()
    assert "is not a socket" in patient.examine().one("socket-left", "advice", "ports")["title"]


# The ssh-agent.


@pytest.fixture
def auth_sock(patient: Patient) -> Iterator[str]:
    """Run a real ssh-agent."""
    path = patient.folder / "auth"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()  # the ssh-agent prints its address when it listens
        yield str(path)
        child.terminate()


def add(auth_sock: str, *words: str, answer: str = "") -> None:
    """Run ssh-add."""
    env = {**os.environ, "SSH_AUTH_SOCK": auth_sock, "SSH_ASKPASS": answer, "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", *words], env=env, check=True, capture_output=True, timeout=DEADLINE_S)


def test_a_missing_passphrase_is_a_problem(patient: Patient, auth_sock: str) -> None:
    """The finding appears without an ssh-agent and with an empty one, and disappears once the key is added."""
    key = keygen(patient.folder / "locked", "secret")
    patient.ssh(IdentityFile=str(key))
    found = patient.examine().one("passphrase-needed", "problem", "keys")
    assert "there is no ssh-agent" in found["title"]
    assert found["lines"] == ['eval "$(ssh-agent)"', f"ssh-add {key}"]
    found = patient.examine(SSH_AUTH_SOCK=auth_sock).one("passphrase-needed", "problem", "keys")
    assert "the ssh-agent is empty, or locked" in found["title"]
    assert found["lines"] == [f"ssh-add {key}"]
    add(auth_sock, str(key), answer=str(script(patient.folder / "ask", "echo secret")))
    assert "one key" in patient.examine(SSH_AUTH_SOCK=auth_sock).well("keys")["title"]


def test_an_ssh_agent_that_is_locked_is_a_problem(patient: Patient, auth_sock: str) -> None:
    """A locked ssh-agent answers like an empty one, so the finding names both."""
    add(auth_sock, str(patient.key))
    patient.ssh(IdentityFile=str(patient.folder / "id_ed25519"))
    assert patient.examine(SSH_AUTH_SOCK=auth_sock).well("keys")
    add(auth_sock, "-x", answer=str(script(patient.folder / "ask", "echo word")))
    found = patient.examine(SSH_AUTH_SOCK=auth_sock).one("no-key", "problem", "keys")
    assert "ssh-add -X" in found["lines"]


def test_a_host_with_no_key_at_all_is_a_problem(patient: Patient) -> None:
    """The finding does not appear if the user logs in to the host."""
    patient.ssh(IdentityFile=str(patient.folder / "id_ed25519"))
    found = patient.examine().one("no-key", "problem", "keys")
    assert found["lines"] == ["ssh-keygen -t ed25519", "ssh-copy-id box"]
    patient.configure("[hosts.box]\ninteractive = true\n")
    assert patient.examine().well("keys")


def test_an_ssh_agent_that_is_gone_is_reported(patient: Patient) -> None:
    """The finding appears if SSH_AUTH_SOCK is from a session that ended."""
    patient.examine(SSH_AUTH_SOCK=str(patient.folder / "gone")).one("agent-dead", "advice", "keys")


def test_identity_agent_none_asks_no_agent(patient: Patient, auth_sock: str) -> None:
    """With IdentityAgent none, the ssh-agent of the environment does not count."""
    add(auth_sock, str(patient.key))
    patient.ssh(IdentityFile=str(patient.folder / "id_ed25519"), IdentityAgent="none")
    found = patient.examine(SSH_AUTH_SOCK=auth_sock).one("no-key", "problem", "keys")
    assert "there is no ssh-agent" in found["title"]


def test_more_keys_than_a_server_tries_are_reported(patient: Patient, auth_sock: str) -> None:
    """The finding appears only if ssh_config does not name the key."""
    for number in range(6):
        add(auth_sock, str(keygen(patient.folder / f"k{number}")))
    patient.ssh(IdentityFile=str(patient.folder / "id_ed25519"))
    found = patient.examine(SSH_AUTH_SOCK=auth_sock).one("too-many-keys", "advice", "keys")
    assert found["lines"][-1] == "    IdentitiesOnly yes"
    patient.ssh()
    assert patient.examine(SSH_AUTH_SOCK=auth_sock).well("keys")


# Login.


def test_start_at_login_is_suggested_and_then_detected(patient: Patient) -> None:
    """Start at login is suggested until `trayagent install` was run.

    Without systemd, the report says that only a desktop starts the agent. With systemd, it mentions enable-linger.
    """
    assert patient.examine().one("login-off", "advice", "start at login")["lines"] == ["trayagent install"]
    assert patient.command("install").returncode == 0
    assert "Only a desktop session" in patient.examine().well("start at login")["why"]
    with manager(patient):
        assert patient.command("install").returncode == 0
    found = patient.examine().well("start at login")
    assert found["title"] == "by ~/.config/systemd/user/trayagent.service"
    assert "loginctl enable-linger" in found["why"]


def test_the_packages_unit_is_examined_in_place_of_ours(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `systemctl --user enable`, the package's unit starts the agent, and trayagent wrote no file."""
    packaged = patient.folder / "packaged.service"
    packaged.write_text(f"[Service]\nExecStart={sys.executable} run\n")
    monkeypatch.setattr(linux_systemd, "PACKAGED", packaged)
    link = patient.home / ".config/systemd/user/default.target.wants/trayagent.service"
    link.parent.mkdir(parents=True)
    link.symlink_to(packaged)
    env = {"HOME": str(patient.home), "XDG_RUNTIME_DIR": str(patient.run_dir)}
    (found,) = asyncio.run(login.check(Case(file_paths.find(env=env), env)))
    assert found.title == f"by {packaged}"


def test_an_autostart_entry_without_its_program_is_a_problem(patient: Patient) -> None:
    """If the program was moved, `trayagent install` writes the entry again."""
    assert patient.command("install").returncode == 0
    assert patient.examine().well("start at login")
    entry = patient.home / ".config" / "autostart" / "trayagent.desktop"
    entry.write_text(entry.read_text().replace("Exec=", "Exec=/nonexistent"))
    found = patient.examine().one("login-broken", "problem", "start at login")
    assert f"/nonexistent{sys.executable}" in found["title"]
    assert patient.command(*found["lines"][0].split()[1:]).returncode == 0
    assert patient.examine().well("start at login")


def test_a_start_file_of_another_version_is_reported(patient: Patient) -> None:
    """The remedy writes the file as this version does, and keeps its command."""
    assert patient.command("install").returncode == 0
    entry = patient.home / ".config" / "autostart" / "trayagent.desktop"
    current = entry.read_text()
    entry.write_text(current.replace("Terminal=false\n", ""))
    found = patient.examine().one("login-outdated", "advice", "start at login")
    assert patient.command(*found["lines"][0].split()[1:]).stdout == f"Written again: {entry}\n"
    assert entry.read_text() == current
    assert patient.examine().well("start at login")


def test_a_percent_sign_in_a_units_program_is_read_as_systemd_does(tmp_path: Path) -> None:
    """A unit file writes each percent sign twice."""
    program = script(tmp_path / "a%b", "true")
    unit = tmp_path / "unit"
    unit.write_text(f"[Service]\nExecStart={str(program).replace('%', '%%')} run\n")
    assert login.missing_program(unit) is None
    program.unlink()
    assert login.missing_program(unit) == str(program)


# Files.


def test_a_runtime_folder_that_is_open_is_a_problem(patient: Patient) -> None:
    """The agent does not start with an open directory; the hint has the command that closes it."""
    folder = patient.run_dir / "trayagent"
    folder.mkdir(mode=0o755)
    found = patient.examine().one("folder-unsafe", "problem", "files")
    assert f"chmod 700 {folder}" in found["remedy"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_state_folder_of_another_user_is_a_problem(patient: Patient) -> None:
    """The agent does not start if another user owns its state directory."""
    os.chown(patient.state, NOBODY, NOBODY)
    patient.examine().one("folder-unsafe", "problem", "files")


def test_a_socket_whose_path_is_too_long_is_a_problem(patient: Patient) -> None:
    """A socket path of more than 107 bytes is a problem, because the kernel does not accept it."""
    folder = patient.folder / ("x" * 100)
    found = patient.examine(TRAYAGENT_RUNTIME_DIR=str(folder)).one("socket-too-long", "problem", "files")
    assert str(len(str(folder / "agent.sock"))) in found["title"]


@pytest.mark.parametrize("content", [b"no database" * 100, None])
def test_a_history_that_cannot_be_read_is_reported(patient: Patient, content: bytes | None) -> None:
    """For a history that is damaged or from a newer trayagent, the finding has the command that moves it away."""
    state = patient.folder / "my state"
    state.mkdir(mode=0o700)
    path = state / "history.sqlite"
    if content is None:
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
    else:
        path.write_bytes(content)
    found = patient.examine(TRAYAGENT_STATE_DIR=str(state)).one("history-unreadable", "advice", "files")
    subprocess.run(shlex.split(found["lines"][0]), check=True)
    assert "history-unreadable" not in patient.examine(TRAYAGENT_STATE_DIR=str(state)).ailing


def test_large_files_are_reported_with_their_size(patient: Patient) -> None:
    """The size of the history includes the broken ones that were moved away, and the masters' logs are counted too."""
    folder = patient.run_dir / "trayagent"
    folder.mkdir(mode=0o700)
    for path, size in ((patient.state / "history.sqlite.broken-x", 300), (folder / "master-1.log", 200)):
        with path.open("wb") as file:
            file.truncate(size << 20)  # a sparse file, which takes no space
    report = patient.examine()
    history = report.one("history-large", "advice", "files")
    assert ("300 MB" in history["title"], history["lines"]) == (True, ['history = "30d"'])
    assert "200 MB" in report.one("log-large", "advice", "files")["title"]


def test_a_full_disk_is_a_problem(patient: Patient) -> None:
    """A full disk is a problem. The test mounts a small file system over the state directory."""
    mount = f"mount -t tmpfs -o size=4m none {shlex.quote(str(patient.state))}"
    if subprocess.run(["unshare", "-Urm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        assert not os.environ.get("CI"), "mount namespaces are not available"
        pytest.skip("mount namespaces are not available")
    under = ["unshare", "-Urm", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    found = patient.examine(under=under).one("disk-full", "problem", "files")
    assert "Only 4 MB are free" in found["title"]


# Checks that fail themselves.


@pytest.mark.parametrize(
    ("error", "code"), [(ZeroDivisionError("x"), "check-failed"), (NetlinkError("asking", 1), "check-blind")]
)
def test_a_check_that_fails_is_a_finding(error: Exception, code: str) -> None:
    """A check that raises gives advice with the topic's name, not a traceback."""

    async def broken(_: Case) -> Iterable[Finding]:
        raise error

    result = asyncio.run(carry_out("ports", broken, Case(file_paths.find(), {})))
    (found,) = result.findings
    assert (found.level, found.code, "ports" in found.title) == ("advice", code, True)


def test_a_check_that_hangs_is_abandoned_and_reported(patient: Patient) -> None:
    """A check that hangs is abandoned, and the report says that it took too long."""

    async def hanging(_: Case) -> Iterable[Finding]:
        await asyncio.Event().wait()
        return [ok("never")]

    case = Case(file_paths.find(env=patient.env), patient.env)
    (found,) = asyncio.run(carry_out("network", hanging, case, deadline_s=0.01)).findings
    assert (found.level, found.code) == ("advice", "check-late")


def test_work_that_cannot_begin_in_time_is_skipped_and_none_is_cancelled() -> None:
    """Work that has begun runs to its own limit."""

    async def body() -> None:
        began: list[int] = []

        async def work(number: int) -> int:
            began.append(number)
            await asyncio.sleep(0.4)
            return number

        found, late = await each(range(6), work, at_once=2, within_s=0.3)
        assert (found, began, late) == ([0, 1], [0, 1], [2, 3, 4, 5])

    asyncio.run(body())


def test_a_program_that_takes_too_long_is_killed(patient: Patient) -> None:
    """The program is killed with everything that it started."""
    pid_file = patient.folder / "pid"
    ssh = script(patient.folder / "ssh", f'echo $$ > {pid_file}; sleep 60; echo "never"')
    env = patient.env | {"TRAYAGENT_SSH": str(ssh)}
    began = time.monotonic()
    (found,) = asyncio.run(
        carry_out("ssh", ssh_program.check, Case(file_paths.find(env=env), env), 1.0)
    ).findings
    assert time.monotonic() - began < DEADLINE_S  # the program would sleep twice as long
    assert found.code == "check-late"
    assert not alive(int(pid_file.read_text()))


def test_with_everything_hanging_it_still_answers_in_ten_seconds(patient: Patient) -> None:
    """`doctor` answers in ten seconds with twenty slow hosts, silent buses and agents, and a file that hangs."""
    began = time.monotonic()
    patient.examine()
    well_s = time.monotonic() - began  # the time that the command needs in any case, on a busy machine
    names = [f"slow{number}" for number in range(20)]
    patient.configure("".join(f"[hosts.{name}]\n" for name in names) + '[vpns.c]\nnetworkmanager = "Corp"\n')
    patient.ssh(first='Match originalhost slow* exec "sleep 60"\n')
    (patient.run_dir / "trayagent").mkdir(mode=0o700)
    os.mkfifo(patient.state / "history.sqlite")  # like a file on a file server that does not answer
    silent = [
        patient.run_dir / "trayagent" / "agent.sock",
        *(patient.folder / n for n in ("bus", "system", "auth")),
    ]
    sockets = [socket.socket(socket.AF_UNIX) for _ in silent]
    try:
        for path, one in zip(silent, sockets, strict=True):
            one.bind(str(path))
            one.listen(32)
        began = time.monotonic()
        report = patient.examine(
            DBUS_SESSION_BUS_ADDRESS=f"unix:path={silent[1]}",
            DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={silent[2]}",
            SSH_AUTH_SOCK=str(silent[3]),
        )
        took_s = time.monotonic() - began
    finally:
        for one in sockets:
            one.close()
    assert took_s - 2 * well_s < 10
    assert [f["topic"] for f in report.findings if f["code"] == "check-late"] == ["hosts", "files"]
    expected = {
        "agent-silent",
        "config-error",
        "no-session-bus",
        "no-system-bus",
        "networkmanager-missing",
        "agent-dead",
    }
    assert expected <= report.ailing
    told = [f["title"] for f in report.findings if f["topic"] == "hosts"]
    assert len(told) == 17
    assert "for 4 hosts, first slow16" in told[-1]


SECCOMP = """
import ctypes, os, struct, sys
# A seccomp filter that refuses socket(AF_NETLINK), as systemd's RestrictAddressFamilies does: seccomp(2).
socket_number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
program = b"".join(struct.pack("HBBI", *line) for line in (
    (0x20, 0, 0, 0), (0x15, 0, 3, socket_number), (0x20, 0, 0, 16), (0x15, 0, 1, 16),
    (0x06, 0, 0, 0x00050000 | 97), (0x06, 0, 0, 0x7FFF0000)))
buffer = ctypes.create_string_buffer(program, len(program))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(6, ctypes.addressof(buffer))), 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.skipif(os.uname().machine not in {"x86_64", "aarch64"}, reason="the filter knows two machines")
def test_a_kernel_that_refuses_netlink_is_reported(patient: Patient) -> None:
    """The agent then checks for changes from time to time, ports cannot be checked, and no check fails."""
    patient.configure('[hosts.box]\nlocal = ["8101:localhost:80"]\n')
    report = patient.examine(under=[sys.executable, "-I", "-c", SECCOMP])
    report.one("no-netlink", "advice", "network")
    blind = [finding["title"] for finding in report.findings if finding["code"] == "check-blind"]
    assert any("ports" in title for title in blind)
    assert "check-failed" not in report.ailing
