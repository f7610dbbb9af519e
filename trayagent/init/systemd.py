"""Find the systemd units that run ssh or autossh: the user's, and the system's if they are readable.

This module only reads files and links. So it also works if no service manager is running.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from trayagent.init import systemd_text
from trayagent.init.found_on_machine import Finding, Found, Machine, Skipped, autossh_only, text_of
from trayagent.init.shell_calls import unwrapped

_SYSTEM = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system",
           "lib/systemd/system")  # fmt: skip
_FOR_USERS = ("etc/systemd/user", "run/systemd/user", "usr/local/lib/systemd/user", "usr/lib/systemd/user")
_CALLS_SSH = re.compile(r"\b(?:auto)?ssh\b")
_STARTERS = {"timer": "Timer.Unit", "path": "Path.Unit", "socket": "Socket.Service"}
"""Units that start the service of the same name, and the setting that names another service.

systemd.timer(5), systemd.path(5), systemd.socket(5)."""
_EXTRAS = ("Restart", "RestartSec", "StartLimitInterval", "StartLimitIntervalSec", "StartLimitBurst")


class _Manager(Struct, frozen=True):
    """One service manager: its directories (a file in an earlier one wins) and the values of its specifiers."""

    folders: tuple[Path, ...]
    system: bool
    specifiers: dict[str, str]


def find(machine: Machine, running: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Yield a finding for each ssh or autossh command that a unit runs.

    `running` are the units of the ssh processes that `processes.find` found.
    """
    for manager in (_user_manager(machine), _system_manager(machine)):
        wanted = _wanted(manager)
        for name, path in sorted(_units(manager.folders, wanted | running).items()):
            yield from _unit(machine, manager, name, path, active=name in wanted or name in running)


def disable(machine: Machine, name: str, *, system: bool) -> str:
    """Return the command that permanently ends a service, and the timers and sockets that would restart it."""
    manager = _system_manager(machine) if system else _user_manager(machine)
    sudo = ["sudo"] if system and machine.uid != 0 else []
    systemctl = ["systemctl"] if system else ["systemctl", "--user"]
    return shlex.join([*sudo, *systemctl, "disable", "--now", *_starters(manager, name), name])


def _starters(manager: _Manager, name: str) -> list[str]:
    """Return the timers, paths and sockets that start a service."""
    stem = name.removesuffix(".service")
    files = {entry.name for folder in manager.folders for entry in _entries(folder)}
    units = {unit for unit in files | _links(manager.folders) if "@." not in unit}
    units |= {f"{stem}.{kind}" for kind in _STARTERS}
    return sorted(
        (unit for unit in units if _started_by(manager, unit) == name),
        key=lambda unit: ([*_STARTERS].index(unit.rpartition(".")[2]), unit),
    )


def _started_by(manager: _Manager, unit: str) -> str | None:
    """Return the service that a timer, path or socket starts; None if it is no such unit or has no file."""
    stem, _, kind = unit.rpartition(".")
    if kind not in _STARTERS:
        return None
    files = (f / name for f in manager.folders for name in (unit, _template(unit)))
    file = next((file for file in files if os.path.lexists(file)), None)
    if file is None:
        return None
    text = text_of(file)
    parsed = systemd_text.parse(text) if isinstance(text, str) else {}
    named = parsed.get(_STARTERS[kind], [""])[-1]
    table = systemd_text.specifiers(unit, manager.specifiers)
    return systemd_text.resolved(named, table) if named else f"{stem}.service"


def _template(unit: str) -> str:
    """Return `a@.timer` for a@b.timer, and every other name unchanged."""
    return re.sub(r"@[^@]*\.(\w+)$", r"@.\1", unit)


def _user_manager(machine: Machine) -> _Manager:
    data = Path(machine.env.get("XDG_DATA_HOME") or machine.home / ".local/share")
    own = (machine.config_home / "systemd/user", data / "systemd/user")
    runtime = machine.env.get("XDG_RUNTIME_DIR") or f"/run/user/{machine.uid}"
    known = _common(machine.user, machine.uid, machine.home) | {
        "t": runtime,
        "E": str(machine.config_home),
        "S": str(machine.env.get("XDG_STATE_HOME") or machine.home / ".local/state"),
        "C": str(machine.env.get("XDG_CACHE_HOME") or machine.home / ".cache"),
    }
    return _Manager((*own, *(machine.root / f for f in _FOR_USERS)), system=False, specifiers=known)


def _system_manager(machine: Machine) -> _Manager:
    known = _common("root", 0, Path("/root")) | {"t": "/run", "E": "/etc", "S": "/var/lib", "C": "/var/cache"}
    return _Manager(tuple(machine.root / f for f in _SYSTEM), system=True, specifiers=known)


def _common(user: str, uid: int, home: Path) -> dict[str, str]:
    name = socket.gethostname()
    return {"u": user, "U": str(uid), "h": str(home), "H": name, "l": name.partition(".")[0]}


def _units(folders: tuple[Path, ...], named: frozenset[str]) -> dict[str, Path]:
    """Return the unit file of each service by name. Instances replace their template."""
    files: dict[str, Path] = {}
    for folder in folders:
        for entry in _entries(folder):
            if entry.name.endswith(".service"):
                files.setdefault(entry.name, Path(entry.path))
    units = {name: path for name, path in files.items() if "@." not in name}
    for name in named:
        template = _template(name)
        if template != name and name not in units and template in files:
            units[name] = files[template]
    instanced = {units[name] for name in units if "@" in name}
    # Also list a template without an instance: the user may start one by hand.
    return units | {name: path for name, path in files.items() if "@." in name and path not in instanced}


def _wanted(manager: _Manager) -> frozenset[str]:
    """Return the services that start automatically, also those that a timer, path or socket starts."""
    links = _links(manager.folders)
    started = (_started_by(manager, link) for link in links)
    return links | {name for name in started if name is not None}


def _links(folders: tuple[Path, ...]) -> frozenset[str]:
    """Return the names of the units in .wants and .requires directories."""
    folders_of_links = (
        entry.path for f in folders for entry in _entries(f) if entry.name.endswith((".wants", ".requires"))
    )
    return frozenset(entry.name for folder in folders_of_links for entry in _entries(Path(folder)))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []


def _unit(machine: Machine, manager: _Manager, name: str, path: Path, *, active: bool) -> Iterator[Finding]:
    texts = []
    for file in (path, *_drop_ins(manager.folders, name)):
        text = text_of(file)
        if isinstance(text, Skipped):
            yield Skipped(machine.shown(file), text.why)
        elif text is not None:
            texts.append(text)
    if not any(_CALLS_SSH.search(text) for text in texts):
        return  # this also skips masked units: a link to /dev/null has no text
    unit = systemd_text.parse(*texts)
    table = systemd_text.specifiers(name, manager.specifiers)
    user = systemd_text.resolved(
        unit.get("Service.User", ["root" if manager.system else machine.user])[-1], table
    )
    try:
        env = machine.variables | systemd_text.environment(unit, list(_env_files(unit, table)), table)
        calls = [call for words in systemd_text.commands(unit, env, table) for call in unwrapped(words, env)]
    except ValueError as error:
        yield Skipped(machine.shown(path), str(error))
        return
    for call in calls:
        if user not in {machine.user, str(machine.uid)} or call.as_other:
            why = f"runs as {'another user' if call.as_other else user}, whose keys are not yours"
            yield Skipped(f"{name} ({machine.shown(path)})", why)
            continue
        if name.endswith("@.service"):
            yield Skipped(f"{name} ({machine.shown(path)})", "is a template that nothing starts")
            continue
        yield Found(
            "unit",
            name,
            tuple(call.words),
            autossh_only(call.env),
            _folder(unit, table, machine, manager),
            active=active or not any(key.startswith("Install.") for key in unit),
            switch_off=disable(machine, name, system=manager.system),
            extras=tuple(
                f"{key}=" for key in _EXTRAS if unit.get(f"Service.{key}") or unit.get(f"Unit.{key}")
            ),
        )


def _drop_ins(folders: tuple[Path, ...], name: str) -> list[Path]:
    """Return the files of NAME.d directories, sorted by name. If two have the same name, the first directory wins."""
    stems = ["service", *_prefixes(name)]
    if "@" in name:
        stems.append(_template(name))
    found: dict[str, Path] = {}
    for stem in dict.fromkeys([name, *reversed(stems)]):
        for folder in folders:
            for entry in _entries(folder / f"{stem}.d"):
                if entry.name.endswith(".conf"):
                    found.setdefault(entry.name, Path(entry.path))
    return [found[key] for key in sorted(found)]


def _prefixes(name: str) -> list[str]:
    """Return `a-.service` and `a-b-.service` for a-b-c.service."""
    stem = name.rpartition(".")[0].partition("@")[0]
    return [f"{stem[: at + 1]}.service" for at, sign in enumerate(stem) if sign == "-" and at + 1 < len(stem)]


def _env_files(unit: systemd_text.Unit, table: dict[str, str]) -> Iterator[str]:
    """Yield the texts of EnvironmentFile=. Skip missing files, even without the "-" that allows this."""
    for value in unit.get("Service.EnvironmentFile", ()):
        pattern = systemd_text.resolved(value.lstrip("-").strip('"'), table)
        for file in sorted(glob.glob(pattern)):  # noqa: PTH207  # Path.glob accepts no absolute pattern
            text = text_of(Path(file))
            if isinstance(text, str):
                yield text


def _folder(unit: systemd_text.Unit, table: dict[str, str], machine: Machine, manager: _Manager) -> Path:
    given = unit.get("Service.WorkingDirectory", [""])[-1].lstrip("-")
    if given in {"", "~"}:
        return machine.home if given == "~" or not manager.system else Path("/")
    return Path(systemd_text.resolved(given, table))
