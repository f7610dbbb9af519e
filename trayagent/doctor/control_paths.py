"""Checks control paths: missing, too long, open to other users, shared by mistake, or taken."""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from trayagent.config.untrusted_files import danger, others_may_write
from trayagent.core.policy.shared_control_path import account, route, takes_another_route
from trayagent.doctor import other_ssh
from trayagent.doctor.deadlines import aside
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case
from trayagent.errors import TrayagentError
from trayagent.ssh.master.read_origin import read_origin
from trayagent.ssh.new_control_path import LONGEST, fits
from trayagent.ssh.os.control_sockets import bound_by_master
from trayagent.ssh.os.namespaces import in_other_namespace, owner_elsewhere
from trayagent.ssh.os.process import read
from trayagent.ssh.os.tcp_connection import flow_of
from trayagent.ssh.resolve import resolve
from trayagent.ssh.ssh_config_text import network_dependent

_NO_SUCH_HOST = "trayagent-doctor.invalid"  # a name that cannot exist (RFC 2606)
_HASHED = "~/.ssh/cm-%C"
_HASHED_BY_NAME = "~/.ssh/cm-%C-%n"
_HASH = "0" * 40


async def check(case: Case) -> Iterable[Finding]:
    """Report what keeps masters from listening, or the user's ssh from finding the masters."""
    found = [
        *(await aside(lambda: [*_each(case)])),
        *_without_path(case),
        *_never_shared(case),
        *_same_path(case),
        *(await aside(lambda: [*_other_route(case)])),
        *(await other_ssh.check(case)),
    ]
    if not any(f.code == "control-path-shared" for f in found):
        found += await _same_for_all_hosts(case)
    number = sum(1 for _ in case.wanted())
    if not number and not found:
        return []
    one = "it fits, and only you can reach it"
    return found or [ok(one if number == 1 else f"all {number} fit, and only you can reach them")]


def _each(case: Case) -> Iterator[Finding]:
    seen: set[Path] = set()
    for name, _, resolved in case.wanted():
        path = case.control_path(name)
        if not path.startswith("/"):
            title = f"{name}: its ControlPath {path} depends on the directory where ssh is started"
            why = "The agent's master listens in one directory, and your ssh uses another."
            yield advice("control-path-relative", title, why, *_shorter(case, name), host=name)
        elif not fits(path):
            size = len(os.fsencode(path))
            title = f"{name}: its ControlPath has {size} bytes, but at most {LONGEST} are possible: {path}"
            yield problem(
                "control-path-too-long",
                title,
                "No master can listen there.",
                *_shorter(case, name),
                host=name,
            )
        elif resolved.control_path is not None:
            folder = Path(path).parent
            if folder not in seen:
                seen.add(folder)
                yield from _folder(case, name, folder)
            yield from _taken(case, name, path)


def _folder(case: Case, name: str, folder: Path) -> Iterator[Finding]:
    quoted = shlex.quote(str(folder))
    try:
        status = folder.stat()
    except OSError as error:
        title = f"{name}: the directory of its ControlPath cannot be used: {folder}: {error.strerror}"
        why = "No master can listen there."
        yield problem("control-path-folder", title, why, "Make it:", f"mkdir -p -m 700 {quoted}", host=name)
        return
    if unsafe := danger(status):
        title = f"{name}: the directory of its ControlPath, {folder}, {unsafe}"
        reason = "Other users could put a socket there and receive the sessions that you open."
        lines = (f"chmod go-w {quoted}",) if "written" in unsafe else ()
        remedy = "Remove that permission:" if lines else f"Choose a directory of your own, as in {_HASHED}"
        yield advice("control-path-open", title, reason, remedy, *lines, host=name)
    elif others_may_write(status):
        title = f"{name}: other users may create files in the directory of its ControlPath, {folder}"
        reason = (
            "If another program listens there before your master, that program receives what your ssh sends."
        )
        yield advice("control-path-open", title, reason, *_shorter(case, name), host=name)
    elif not os.access(folder, os.W_OK | os.X_OK):
        title = f"{name}: you may not write into the directory of its ControlPath, {folder}"
        remedy = f"Choose a directory of your own, as in {_HASHED}"
        yield problem("control-path-folder", title, "No master can listen there.", remedy, host=name)


def _taken(case: Case, name: str, path: str) -> Iterator[Finding]:
    owner = _owner(path)
    if owner not in {None, os.getuid()}:
        title = f"{name}: its ControlPath {path} is a file of another user (uid {owner})"
        yield problem(
            "control-path-taken",
            title,
            "No master of yours can listen there.",
            *_shorter(case, name),
            host=name,
        )
        return
    here = case.master(name)
    pid = here or owner_elsewhere(path)
    process = read(pid) if pid is not None else None
    if process is None:
        return
    elsewhere = here is None or in_other_namespace(here)
    if not elsewhere and (process.comm == "ssh" or bound_by_master(path)):
        return
    title = f"{name}: {process.comm} (pid {process.pid}) listens on its ControlPath {path}"
    why = "It is not ssh, so no master can listen there."
    if elsewhere:
        title = f"{title} from a container or another network namespace"
        why = (
            "Its connection does not use this machine's network, so the agent does not touch it or the path."
        )
    remedy = "End that program or choose another ControlPath. It is:"
    yield problem("control-path-taken", title, why, remedy, f"ps -fp {process.pid}", host=name)


def _owner(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def _without_path(case: Case) -> Iterator[Finding]:
    """Yield one finding about all hosts whose master a plain ssh cannot find. It has the ssh_config lines to add."""
    names = [name for name, _, resolved in case.wanted() if resolved.control_path is None]
    if not names:
        return
    many = len(names) > 1
    title = f"Plain ssh does not share the connection of {_listed(names)}"
    why = (
        "ssh_config has no ControlPath for them, so the agent uses its own path, which plain ssh does not know."
        if many
        else "ssh_config has no ControlPath for it, so the agent uses its own path, which plain ssh does not know."
    )
    why = f"{why} Each ssh or git makes its own connection, which does not survive a change of network."
    yield advice("control-path-none", title, why, f"Add to {case.ssh_config}:", *_sharing(case, names))


def _sharing(case: Case, names: list[str]) -> tuple[str, ...]:
    """Return the lines that let ssh share the connections. %C is the same for two names of one account."""
    alike = len({(account(case.resolved[name]), route(case.resolved[name])) for name in names}) < len(names)
    path = _HASHED_BY_NAME if alike else _HASHED
    longest = max(names, key=len)
    if fits(str(Path(path).expanduser()).replace("%C", _HASH).replace("%n", longest)):
        return (f"Host {' '.join(names)}", f"    ControlPath {path}")
    pairs = ((f"Host {name}", f"    ControlPath {case.control_path(name)}") for name in names)
    return tuple(line for pair in pairs for line in pair)  # for a home directory with a long name


def _never_shared(case: Case) -> Iterator[Finding]:
    """Find hosts with ControlMaster yes or ask. There each ssh tries to become the master, and never uses one."""
    for name, _, resolved in case.wanted():
        if resolved.control_master in {"yes", "ask"} and resolved.control_path is not None:
            title = f"{name}: with ControlMaster {resolved.control_master}, ssh never uses an existing master"
            why = "Each one tries to become the master, finds the path taken, and makes its own connection."
            lines = (f"Host {name}", "    ControlMaster auto")
            remedy = f"Change it in {case.ssh_config}:"
            yield advice("control-master", title, why, remedy, *lines, host=name)


def _same_path(case: Case) -> Iterator[Finding]:
    """Find listed hosts that share a control path."""
    shared: dict[str, list[str]] = defaultdict(list)
    for name, _, resolved in case.wanted():
        if resolved.control_path is not None:
            shared[resolved.control_path].append(name)
    for path, names in shared.items():
        if len(names) < 2:
            continue
        if len({account(case.resolved[name]) for name in names}) > 1:
            yield _shared(case, f"{_listed(names)} share the ControlPath {path}", names[0])
        elif len({route(case.resolved[name]) for name in names}) > 1:
            title = (
                f"{_listed(names)} share the ControlPath {path}, but reach the account by different routes"
            )
            why = "Only one of them can be connected. ssh before 9.6 leaves the jump host out of %C."
            remedy, lines = _by_name(case, names)
            yield problem("control-path-shared", title, why, remedy, *lines, host=names[0])
        else:
            title = f"{_listed(names)} share one connection, because they have the same ControlPath {path}"
            why = "They are names of the same account, and only one master can listen there."
            yield advice(
                "control-path-same", title, why, f"List one of them in {case.file_paths.config_file}."
            )


def _other_route(case: Case) -> Iterator[Finding]:
    """Find listed hosts whose living master was made by another route than the one in ssh_config."""
    if network_dependent(case.file_paths.ssh_config_files):
        return  # the route was right where the master was made
    for name, host, resolved in case.wanted():
        if host.roam:
            continue  # the inner master connects through the near relay
        pid = case.master(name) if resolved.control_path is not None else None
        flow = flow_of(pid) if pid is not None else None
        if pid is None or flow is None or in_other_namespace(pid):
            continue
        origin = read_origin(pid, direct=flow.via == "direct")
        if not takes_another_route(resolved, origin):
            continue
        taken = (
            "without a jump host"
            if origin.route == "direct"
            else f"through {origin.jump or 'a ProxyCommand'}"
        )
        way = resolved.proxy_jump or ("a ProxyCommand" if resolved.proxy_command else None)
        wanted = f"through {way}" if way else "without a jump host"
        title = f"{name}: the master on its ControlPath connects {taken}, but ssh_config connects {wanted}"
        why = (
            "Another name in ssh_config may have the same ControlPath. The agent connects as ssh_config says."
        )
        remedy, lines = _by_name(case, [name])
        yield advice("control-path-route", title, why, remedy, *lines, host=name)


def _by_name(case: Case, names: list[str]) -> tuple[str, tuple[str, ...]]:
    """Return how to give each of these names a ControlPath of its own."""
    return f"Change it in {case.ssh_config}:", (
        f"Host {' '.join(names)}",
        f"    ControlPath {_HASHED_BY_NAME}",
    )


async def _same_for_all_hosts(case: Case) -> list[Finding]:
    """Find a ControlPath that is the same for every host: even a name that cannot exist gets this path."""
    paths = {resolved.control_path: name for name, _, resolved in case.wanted() if resolved.control_path}
    if not paths or any(resolved.canonicalize_hostname != "no" for _, _, resolved in case.wanted()):
        return []  # `ssh -G` would query DNS for the name
    config = case.file_paths.ssh_option_f
    try:
        unknown = await resolve(_NO_SUCH_HOST, ssh=case.file_paths.ssh, config=config)
    except TrayagentError:
        return []
    if unknown.control_path not in paths:
        return []
    name = paths[unknown.control_path]
    return [_shared(case, f"Every host has the ControlPath of {name}: {unknown.control_path}", name)]


def _shared(case: Case, title: str, name: str) -> Finding:
    why = "ssh only checks whether the socket answers, so a session for one server may open on another."
    remedy = f"Use a different one for each host, in {case.ssh_config}:"
    return problem("control-path-shared", title, why, remedy, f"    ControlPath {_HASHED}", host=name)


def _shorter(case: Case, name: str) -> tuple[str, ...]:
    return (f"Change it in {case.ssh_config}:", f"Host {name}", f"    ControlPath {_HASHED}")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
