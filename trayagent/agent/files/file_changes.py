"""Reacts to changed files: the configuration, ssh's files, keys, new sockets."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trayagent.agent.events.event_bus import EventBus
from trayagent.agent.files.changed_keys import Keys
from trayagent.agent.files.directory_watcher import Files
from trayagent.agent.files.host_name_changes import HostNameChanges
from trayagent.agent.files.symbolic_links import in_real_folder, names_of
from trayagent.agent.masters.discovery_schedule import DiscoverySchedule
from trayagent.agent.masters.obstacle_gone import Obstacles, nearest
from trayagent.agent.parts import Parts
from trayagent.agent.state import refusal_records
from trayagent.agent.state.record_types import KeptHost
from trayagent.agent.state.resolve_when_needed import HostResolver, Resolver
from trayagent.agent.view_updates import Views
from trayagent.config.errors import ConfigError
from trayagent.core.facts.actions import Publish
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.state import State
from trayagent.core.facts.user_events import CredentialsChanged
from trayagent.desktop.session_bus import session_bus_socket
from trayagent.ssh.login.read_keys import NO_FILE, key_files

if TYPE_CHECKING:
    from trayagent.desktop.icon_menu_and_messages import Desk

log = logging.getLogger(__name__)

_QUIET_S = 0.05  # editors write, rename and touch in quick succession; react once


class FileChanges:
    """Watches the files that matter, and reacts to a change of each."""

    def __init__(  # noqa: PLR0913  # each parameter is a part that a changed file affects
        self,
        parts: Parts,
        resolver: Resolver,
        *,
        events: EventBus,
        views: Views,
        hosts: HostResolver,
        schedule: DiscoverySchedule,
        obstacles: Obstacles,
        keys: Keys,
        desk: Desk | None,
    ) -> None:
        self._file_paths = parts.file_paths
        self._configuration = parts.configuration
        self._shell = parts.shell
        self._resolver = resolver
        self._events = events
        self._views = views
        self._hosts = hosts
        self._schedule = schedule
        self._obstacles = obstacles
        self._keys = keys
        self._desk = desk
        self._files = Files(self)
        self._host_name = HostNameChanges(self._ssh_changed)
        self._bus = session_bus_socket() if desk is not None else None
        self._answers: tuple[Resolved | None, ...] = ()
        self._credentials: tuple[tuple[Resolved | None, ...], frozenset[Path]] = (), frozenset()
        self._ssh_files: frozenset[Path] = frozenset()
        self._missing: frozenset[Path] = frozenset()
        self._followed: frozenset[Path] = frozenset()
        self._names: dict[Path, tuple[Path, ...]] = {}  # the links and the file behind each file
        self._due: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Start to watch."""
        self._files.start()
        self._host_name.start()

    def close(self) -> None:
        """Stop watching."""
        self._files.close()
        self._host_name.close()

    def follow(self, state: State) -> None:
        """Update the watched folders if `ssh -G` gave another answer for a host.

        Does nothing while the agent starts: then the agent calls `follow_folders` once, after all answers.
        """
        if state.started and _answers(state) != self._answers:
            self.follow_folders(state)

    def follow_folders(self, state: State) -> None:
        """Watch the folders of control paths, ssh's files, keys, the configuration and the session bus."""
        self._answers = _answers(state)
        paths = [
            host.resolved.control_path
            for host in state.hosts.values()
            if host.resolved is not None and host.resolved.control_path is not None
        ]
        sockets = {Path(p).parent for p in paths} | {*self._resolver.control_path_folders()}
        self._ssh_files = frozenset(self._resolver.files)
        credentials = self._all_credential_files()
        keys = {f.parent for f in credentials}
        self._names = {f: names_of(f) for f in (self._configuration.path, *self._ssh_files, *credentials)}
        config = {self._configuration.path.parent, *(f.parent for f in self._ssh_files)}
        bus = {self._bus.parent} if self._bus is not None else set()
        others = keys | {self._file_paths.ansible_cp}
        # A folder needs one watch, although a link to it may be followed, too.
        real = {Path(os.path.realpath(f)) for f in sockets | config | bus | others}
        links = {name.parent for names in self._names.values() for name in names} - real
        self._follow(sockets | config | bus | links, others)

    def _follow(self, awaited: set[Path], others: set[Path]) -> None:
        """Watch these folders. For a missing awaited folder, watch the nearest existing ancestor."""
        while True:
            found = set(map(nearest, awaited))
            self._files.follow(found | others)
            if found == set(map(nearest, awaited)):  # else a folder appeared meanwhile; repeat
                break
        self._missing, self._followed = frozenset(awaited - found), frozenset(found | others)

    def changed_meanwhile(self, past: Mapping[str, KeptHost], agent_mark: str) -> None:
        """Allow a retry of refused logins if a file of the login or the ssh-agent changed while no agent ran."""
        ssh = {self._configuration.path, *self._ssh_files}
        for name, kept in past.items():
            host = self._shell.state.hosts.get(name)
            files = ssh | self._credential_files([host]) if host is not None else ssh
            if refusal_records.outdated(kept, agent_mark, files):
                self._shell.post(CredentialsChanged(time.monotonic(), (name,)))

    def file_changed(self, path: Path) -> None:
        """React to a changed file, or to a changed link on the way to a file."""
        real = in_real_folder(path)
        files = [file for file, names in self._names.items() if real in names]
        if any(names_of(file) != self._names[file] for file in files):
            self.follow_folders(self._shell.state)
        for file in files:
            if file != path:
                self._changed(file)
        self._changed(path)

    def _changed(self, path: Path) -> None:
        if path == self._configuration.path:
            self._soon("configuration", self._reload)
        elif path in self._ssh_files or any(
            path.parent == f.parent for f in self._ssh_files if f != path and path.suffix == ".conf"
        ):
            self._soon("ssh configuration", self._ssh_changed)
        elif path in self._all_credential_files():
            self._soon("credentials", self._credentials_changed)
            self._keys.changed(path)
        elif path == self._bus:
            self._search_bus()
        elif path in self._followed:  # the watched folder was removed, and may be created again
            self._folder_made(path)
        elif path.is_socket():
            self._schedule.socket_appeared(path)
        elif not path.exists():
            self._obstacles.changed(path)
        elif any(folder.is_relative_to(path) for folder in self._missing):
            self._folder_made(path)

    def _folder_made(self, path: Path) -> None:
        """React to a watched folder that was created or replaced, or to a new ancestor of it."""
        self.follow_folders(self._shell.state)
        self._obstacles.changed(path)
        self._search_bus()
        real = in_real_folder(path)
        above = {
            file
            for file, names in self._names.items()
            if file.is_relative_to(path) or any(name.is_relative_to(real) for name in names)
        }
        if self._configuration.path in above:
            self._soon("configuration", self._reload)
        if above & self._ssh_files:
            self._soon("ssh configuration", self._ssh_changed)
        if above & self._all_credential_files():
            self._soon("credentials", self._credentials_changed)

    def _search_bus(self) -> None:
        if self._desk is not None and self._bus is not None and self._bus.is_socket():
            self._soon("session bus", self._desk.nudge)

    def _reload(self) -> None:
        try:
            changed = self._configuration.reload()
        except ConfigError as error:
            log.warning("configuration rejected: %s", error)
            self._events.publish(
                Publish("", "configuration-rejected", reason=error.title, details={"hint": error.hint})
            )
            return
        finally:
            self._views.note_change()  # the view shows why a file was rejected
        if changed:
            self._shell.post(self._configuration.event())

    def _ssh_changed(self) -> None:
        self._resolver.forget()
        self.follow_folders(self._shell.state)  # an Include may name other files now
        self._hosts.resolve_all()

    def _credentials_changed(self) -> None:
        self._shell.post(CredentialsChanged(time.monotonic()))

    def _soon(self, what: str, do: Callable[[], None]) -> None:
        """Call the function once, a moment after the last change of a burst."""
        if what in self._due:
            self._due[what].cancel()
        self._due[what] = asyncio.get_running_loop().call_later(_QUIET_S, do)

    def _all_credential_files(self) -> frozenset[Path]:
        """Return the key and known_hosts files of all hosts. The set is cached until an answer of ssh changes."""
        state = self._shell.state
        answers = _answers(state)
        if answers != self._credentials[0]:
            self._credentials = answers, self._credential_files(state.hosts.values())
        return self._credentials[1]

    @staticmethod
    def _credential_files(hosts: Iterable[Host]) -> frozenset[Path]:
        found: set[Path] = set()
        for host in hosts:
            resolved = host.resolved
            while resolved is not None:  # the host, then its jump hosts
                found.update(key_files(resolved), (Path(f).expanduser() for f in resolved.user_known_hosts))
                resolved = resolved.jump
        return frozenset(found - {NO_FILE})


def _answers(state: State) -> tuple[Resolved | None, ...]:
    return tuple(host.resolved for host in state.hosts.values())
