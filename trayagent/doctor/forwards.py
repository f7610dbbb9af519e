"""Checks for forwards that are defined twice: in the configuration, in ssh_config, or for another host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from trayagent.config.model import Host
from trayagent.core.facts.forwards import End, Forward
from trayagent.core.facts.resolved import Resolved
from trayagent.core.policy.shared_control_path import account, route
from trayagent.doctor.findings import Finding, advice, ok, problem
from trayagent.doctor.gather_facts import Case, shown, spoken
from trayagent.dotted_key import dotted


async def check(case: Case) -> Iterable[Finding]:
    """Report forwards that conflict with each other, or that each plain ssh requests again."""
    found = [*_twice(case)]
    for name, host, resolved in case.wanted():
        conflicts = [*_conflicts(name, host, resolved)]
        found += conflicts or _doubled(case, name, host, resolved)
    number = sum(len(_all(host, resolved)) for _, host, resolved in case.wanted())
    return found or ([ok(f"{number} configured, no duplicates")] if number else [])


def _all(host: Host, resolved: Resolved) -> tuple[Forward, ...]:
    return tuple(dict.fromkeys((*host.forwards, *resolved.forwards)))


def _conflicts(name: str, host: Host, resolved: Resolved) -> Iterator[Finding]:
    """Yield forwards of one host that listen on the same address but lead to different destinations."""
    own = {_listening_end(forward): forward for forward in host.forwards}
    for theirs in resolved.forwards:
        ours = own.get(_listening_end(theirs))
        if ours is not None and ours != theirs and _fixed(theirs):
            here, there = spoken(ours), spoken(theirs)
            title = f"{name}: {here} in the configuration and {there} in ssh_config listen on the same port or socket"
            why = "Only one of them can be open. The other fails each time."
            yield problem("forward-conflict", title, why, "Remove one of them.", host=name)


def _doubled(case: Case, name: str, host: Host, resolved: Resolved) -> list[Finding]:
    """Return the forwards that each plain ssh requests again."""
    if not resolved.forwards:
        return []
    specs = ", ".join(spoken(forward) for forward in resolved.forwards)
    title = f"{name}: ssh_config sets forwards for it: {specs}"
    why = (
        f"Each `ssh {name}` requests them again from the master. "
        "If one fails, that session makes its own connection, which does not survive a change of network."
    )
    missing = [forward for forward in resolved.forwards if forward not in host.forwards]
    file = shown(case.file_paths.config_file)
    remedy = f"Remove them from {case.ssh_config}; {file} has them already."
    if missing:
        remedy = f"Remove them from {case.ssh_config}, and add them for the agent to {file}:"
    lines = (f"[{dotted('hosts', name)}]", *_keys(host, missing)) if missing else ()
    return [advice("forwards-in-ssh-config", title, why, remedy, *lines, host=name)]


def _keys(host: Host, missing: list[Forward]) -> Iterator[str]:
    """Yield the configuration lines with these forwards, and with the forwards that the host already has."""
    for kind in ("local", "remote", "dynamic"):
        specs = [forward.spec for forward in (*host.forwards, *missing) if forward.kind == kind]
        if any(forward.kind == kind for forward in missing):
            yield f"{kind} = [{', '.join(_quoted(spec) for spec in specs)}]"


def _quoted(spec: str) -> str:
    return '"' + spec.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _twice(case: Case) -> Iterator[Finding]:
    """Yield local addresses on which forwards of several hosts want to listen."""
    wishes: dict[object, list[tuple[str, Forward]]] = defaultdict(list)
    for name, host, resolved in case.wanted():
        for forward in _all(host, resolved):
            if forward.kind != "remote" and _fixed(forward):
                wishes[_end(forward.listen)].append((name, forward))
    for found in wishes.values():
        names = list(dict.fromkeys(name for name, _ in found))
        if len(names) > 1:
            where = found[0][1].listen.path or f"port {found[0][1].listen.port}"
            title = f"{' and '.join(names)} both have a forward on {where} on this machine"
            why = f"Only the first one is open (for example {spoken(found[0][1])} of {names[0]}), the other fails."
            remedy = "Give one of them another port."
            if len({forward for _, forward in found}) == 1 and _one_account(case, names):
                file = shown(case.file_paths.config_file)
                remedy = f"They are names of the same account: remove the forward from one in {file}."
            yield problem("forward-twice", title, why, remedy, host=names[-1])


def _one_account(case: Case, names: list[str]) -> bool:
    found = [case.resolved[name] for name in names]
    return len({(account(resolved), route(resolved)) for resolved in found}) == 1


def _listening_end(forward: Forward) -> object:
    return forward.kind == "remote", _end(forward.listen)


def _end(listen: End) -> object:
    """Return a key that is equal for two ends if only one of them can be open. No host means localhost."""
    return listen.path or (listen.port, "" if listen.host in {"localhost", "127.0.0.1"} else listen.host)


def _fixed(forward: Forward) -> bool:
    """Report whether the port is known in advance. For port 0 the server chooses a port."""
    return forward.listen.path is not None or forward.listen.port != 0
