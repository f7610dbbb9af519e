"""Find running autossh processes, ssh tunnels and masters, from /proc and the kernel's list of sockets."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path, PurePath

from msgspec import Struct

from trayagent.core.facts.master_origin import MasterOrigin
from trayagent.init import systemd
from trayagent.init.found_on_machine import Found, Machine, Skipped, autossh_only
from trayagent.ssh.command_line import NotUnderstood, parse
from trayagent.ssh.master.read_origin import read_origin
from trayagent.ssh.os.control_sockets import listening
from trayagent.ssh.os.process import Process, read, ssh_processes
from trayagent.ssh.os.script_around import script_around, spoken
from trayagent.ssh.os.tcp_connection import flow_of

_UNIT = re.compile(r"/([^/]+\.service)(?:/[^/]*)?$")
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "fish"))
# Programs that start what a user types, or that adopt a process whose parent ended.
_NO_SUPERVISORS = frozenset(
    ("login", "systemd", "init", "tmux", "screen", "sudo", "su", "doas", "sshd", "autossh")
)
_GENERAL = re.compile(r"(?:cron|crond|cronie|anacron|atd|ssh|sshd|user)(?:@.*)?\.service")
# Only the command lines of masters that trayagent started have all of these words.
_OURS = ("-oClearAllForwardings=yes", "-oForkAfterAuthentication=no", "-oPermitLocalCommand=no")


SSHUTTLE = 'trayagent does not replace sshuttle; with `beside = "end"` it recovers faster after a move'


class Running(Struct, frozen=True):
    """A process and its unit, "" if it has no unit."""

    found: Found
    unit: str


class Master(Struct, frozen=True):
    """A master that the user may want to keep: its control path, its server's address and how it was made."""

    control_path: str
    peer: str | None
    origin: MasterOrigin


def find(machine: Machine) -> tuple[list[Running], list[Master], list[Skipped]]:
    """Return the processes whose command line keeps a connection open, the other masters, and each ssh of sshuttle.

    Leave out processes in another network namespace (a container), because they do not use this machine's network.
    """
    here = _network("self")
    processes = [p for p in ssh_processes(machine.uid, ("ssh", "autossh")) if _network(p.pid) == here]
    paths = {socket.pid: socket.path for socket in listening(machine.uid)}
    supervised = {p.pid for p in processes if p.comm == "autossh"}
    running, masters, skipped = [], [], []
    for process in processes:
        if process.ppid in supervised and process.comm == "ssh":
            continue  # report the command line of its parent, autossh
        words = _plain(process.argv)
        if _keeps(words):
            running.append(_running(machine, process, words, is_master=process.pid in paths))
        elif process.pid in paths:
            flow = flow_of(process.pid)
            origin = read_origin(process.pid, direct=flow is not None and flow.via == "direct")
            masters.append(Master(paths[process.pid], flow.peer_ip if flow is not None else None, origin))
        elif _has_sshuttle(process) and flow_of(process.pid) is not None:
            skipped.append(Skipped(f"ssh with pid {process.pid} of sshuttle", SSHUTTLE))
    return running, masters, skipped


def _has_sshuttle(process: Process) -> bool:
    """Report whether sshuttle started an ssh. Its interpreter may be the first word of the command line."""
    parent = read(process.ppid)
    return parent is not None and any(PurePath(word).name == "sshuttle" for word in parent.argv[:3])


def _keeps(words: tuple[str, ...]) -> bool:
    glued = [f"-o{value}" for option, value in itertools.pairwise(words) if option == "-o"]
    if set(_OURS) <= set(glued):
        return False
    try:
        return parse(words).keeps
    except NotUnderstood:
        return False


def _running(machine: Machine, process: Process, words: tuple[str, ...], *, is_master: bool) -> Running:
    cgroup = _cgroup(process.pid)
    unit = unit_of(cgroup)
    where, end = f"{process.comm} with pid {process.pid}", f"kill {process.pid}"
    script = script_around(process)
    if unit and _GENERAL.fullmatch(unit) is None and _started_by_manager(process):
        # The unit runs a script that calls ssh. If the user killed the process, the unit would restart it.
        where, end = f"{where} ({unit})", disable(unit, cgroup, machine)
    elif script is not None:
        # The script may be a loop that starts ssh again. So end the script first.
        where = f"{where} of “{spoken(script)}” (pid {script.pid})"
        end = f"kill {script.pid} {process.pid}"
    elif (supervisor := _supervisor(process, words)) is not None:
        program, pid = supervisor.comm, supervisor.pid
        how = f"{end}, but {program} (pid {pid}) may start it again: end it there"
        where, end = f"{where}, started by {program} (pid {pid})", how
    found = Found(
        "process",
        where,
        words,
        autossh_only(_environ(process.pid)),
        _folder(process.pid),
        # A master may stay, because the agent adopts it. Any other process would hold the ports of the forwards.
        switch_off="" if is_master else end,
        restarts=process.comm == "autossh" or end != f"kill {process.pid}",
    )
    return Running(found, unit)


def _supervisor(process: Process, words: tuple[str, ...]) -> Process | None:
    """Return the program that started a process and may start it again, None for a shell, systemd and the like.

    Nothing started an ssh in the background anew: `-f` gives it another parent.
    """
    parent = read(process.ppid)
    if parent is None or parent.pid == 1 or (process.comm == "ssh" and "f" in parse(words).flags):
        return None
    name = parent.comm.lstrip("-").partition(":")[0]
    return None if name in _SHELLS or name in _NO_SUPERVISORS else parent


def _plain(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words, () if the process replaced them by a title (`ssh: PATH [mux]`).

    Leave out empty words: autossh blanks the f of its options, and keeps the bytes.
    """
    return tuple(filter(None, argv)) if argv and not argv[0].startswith("ssh: ") else ()


def _network(pid: int | str) -> str:
    return _link(f"/proc/{pid}/ns/net")


def _folder(pid: int) -> Path:
    return Path(_link(f"/proc/{pid}/cwd") or "/")


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _environ(pid: int) -> dict[str, str]:
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in data.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def _cgroup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(errors="replace")
    except OSError:
        return ""


def unit_of(cgroup: str) -> str:
    """Return the innermost service in the text of /proc/PID/cgroup, "" if there is none; cgroups(7)."""
    found = (_UNIT.search(line) for line in cgroup.splitlines())
    return next((match[1] for match in found if match and not match[1].startswith("user@")), "")


def disable(unit: str, cgroup: str, machine: Machine) -> str:
    """Return the command that permanently ends the service of this control group."""
    return systemd.disable(machine, unit, system=f"/user@{machine.uid}.service/" not in cgroup)


def _started_by_manager(process: Process) -> bool:
    """Report whether systemd started the process, directly or through a script, and not a user in a terminal."""
    parent = read(process.ppid)
    if parent is not None and parent.comm in _SHELLS:
        parent = read(parent.ppid)
    return parent is not None and parent.comm == "systemd"
