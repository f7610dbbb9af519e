"""The composition root: creates the parts, connects them by constructor arguments, starts and stops them."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trayagent import __version__
from trayagent.agent import clock as wall
from trayagent.agent import memory as lean
from trayagent.agent.desktop_client import DeskDoor, make_desk
from trayagent.agent.effects import AgentEffects
from trayagent.agent.events.decision_log import DecisionLog
from trayagent.agent.events.event_bus import EventBus
from trayagent.agent.events.hooks import Hooks
from trayagent.agent.files.changes import FileChanges
from trayagent.agent.files.keys import Keys
from trayagent.agent.files.watcher import Files
from trayagent.agent.forwards.agent_socket import AgentSocketLinks
from trayagent.agent.forwards.remote_cleanup import RemoteCleanup
from trayagent.agent.forwards.wanted_forwards import Forwarding
from trayagent.agent.handler import AgentHandler
from trayagent.agent.load_configuration import Configuring
from trayagent.agent.masters.bare_control import BareControls
from trayagent.agent.masters.connect import MasterConnector
from trayagent.agent.masters.control_paths import ControlPaths
from trayagent.agent.masters.discovery import Discovery
from trayagent.agent.masters.discovery_schedule import DiscoverySchedule
from trayagent.agent.masters.interactive_login import InteractiveLogins
from trayagent.agent.masters.key_trial import KeyTrials
from trayagent.agent.masters.leftovers import Leftovers
from trayagent.agent.masters.lost import LostMasters
from trayagent.agent.masters.obstacles import Obstacles
from trayagent.agent.masters.probe import MasterProber
from trayagent.agent.masters.take_over import MasterReplacer
from trayagent.agent.masters.watch import MasterWatch
from trayagent.agent.shell import Shell
from trayagent.agent.state.environment import Environment
from trayagent.agent.state.machine import file_mark
from trayagent.agent.state.records import Records, records_path, remembered
from trayagent.agent.state.resolve import Resolver
from trayagent.agent.state.resolve_hosts import HostResolver
from trayagent.agent.systemd_notify import Readiness
from trayagent.agent.tasks import Tasks
from trayagent.agent.views import Views
from trayagent.config.file_paths import FilePaths
from trayagent.core.facts.events import (
    CredentialsChanged,
    ManagerSaid,
    Started,
    Woke,
)
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network import Touched
from trayagent.core.facts.network_manager import NetworkName
from trayagent.core.facts.state import State
from trayagent.core.view import AgentFacts
from trayagent.desktop.scopes.choose import keeper
from trayagent.history.store import History
from trayagent.ipc.server import Server
from trayagent.net import hints
from trayagent.net.choose import Watch, choose, look, start_sources

if TYPE_CHECKING:
    from trayagent.desktop.desk import Desk

log = logging.getLogger(__name__)

_PAINTED_S = 2.0
_ONE_WAKE_S = 10.0  # logind and the kernel's clock both report the same wake


class Agent:
    """One running agent. `run` returns after `stop`; the masters stay."""

    def __init__(self, places: FilePaths, configuring: Configuring, *, tray: bool) -> None:
        self._places = places
        self._configuring = configuring
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._tasks = Tasks()
        self._watch: Watch | None = None
        self._woke_at = float("-inf")
        self._network: NetworkName | None = None
        self._environment = Environment()
        self._records = Records(records_path(places.state_dir, file_mark()), self._environment.agent_mark)
        self._history = History(places.history_db)
        self._resolver = Resolver(places.ssh, places.ssh_config, places.ssh_config_files)
        self._shell = Shell(self._read_network)
        self._hooks = Hooks(configuring)
        self._events = EventBus(self._history, self._hooks)
        decisions = DecisionLog()
        self._facts = AgentFacts(__version__, os.getpid(), wall.now_text())
        self._views = Views(self._shell, self._who, self._events.publish)
        configuring.judged = self._views.note_change
        post = self._shell.post
        self._asking = HostResolver(post, self._tasks, self._resolver, self._state)
        self._discovery = Discovery(places, self._resolver, self._records, post)
        self._scanning = DiscoverySchedule(self._tasks, self._discovery, self._state)
        self._events.subscribe(self._scanning.happened)
        self._obstacles = Obstacles(post)
        paths = ControlPaths(places, self._discovery, self._obstacles, self._state)
        self._keeper = keeper()
        self._dialling = MasterConnector(
            places,
            post,
            self._tasks,
            self._records,
            self._discovery,
            self._environment.current,
            paths,
            self._keeper,
        )
        taking_over = MasterReplacer(
            post,
            self._tasks,
            self._records,
            self._discovery,
            self._obstacles,
            self._dialling.let_go,
            self._dialling.forget,
        )
        self._keys = Keys(post, lambda: self._resolver.place_dependent)
        self._linking = AgentSocketLinks(
            post, self._tasks, self._records, self._state, configuring.agent_socket
        )
        self._lost = LostMasters(self._records, self._dialling.log_of)
        self._leftovers = Leftovers(places.runtime_dir, self._records, self._dialling.log_of)
        reaping = RemoteCleanup(
            post, self._tasks, self._records, configuring.has_shell, self._wants_sentinel, self._linking.made
        )
        self._probing = MasterProber(post, self._tasks, self._records, self._state, reaping.told)
        self._masters = MasterWatch(
            post, self._records, self._discovery.heir, self._dialling.log_of, self._dialling.reap
        )
        self._effects = AgentEffects(
            self._shell,
            dialling=self._dialling,
            bare_controls=BareControls(places, post, self._tasks, self._environment.current),
            taking_over=taking_over,
            probing=self._probing,
            forwarding=Forwarding(
                post, self._tasks, self._records, self._state, self._dialling.log_of, reaping
            ),
            masters=self._masters,
            records=self._records,
            events=self._events,
            decision_log=decisions,
            trying=KeyTrials(places, post, self._tasks, self._environment.current),
            linking=self._linking,
            resolve=self._asking.ask,
            wants_sentinel=self._wants_sentinel,
            changed=self._decided,
        )
        self._logins = InteractiveLogins(
            places=places,
            shell=self._shell,
            tasks=self._tasks,
            records=self._records,
            discovery=self._discovery,
            resolver=self._resolver,
            paths=paths,
            log_of=self._dialling.log_of,
            environment=self._environment.current,
        )
        handler = AgentHandler(
            self._shell,
            self._events,
            decisions,
            self._views,
            logins=self._logins,
            stop=self.stop,
            environment=self._client_environment,
            looked=self._scanning.scan,
            attached=self._linking.claim,
            ready=self._ready,
            aliases=self._resolver.aliases,
        )
        self._server = Server(places.ipc_socket, handler)
        self._desk: Desk | None = None
        if tray:
            door = DeskDoor(handler, configuring, lambda: self._watch, self._shell)
            self._desk = make_desk(door, handler, configuring, places, self._environment, self.stop)
            self._events.subscribe(self._desk_heard)
        self._noticing: FileChanges | None = None

    def stop(self) -> None:
        """Make `run` return soon. Does not wait."""
        self._stopping.set()

    async def run(self) -> None:
        """Scan the machine, then react to events until `stop`."""
        readiness = Readiness()
        await self._server.start()
        files = Files(self._file_changed)
        self._noticing = noticing = FileChanges(
            self._places, self._configuring, self._resolver, self._shell, self._events, files,
            resolve_all=self._asking.ask_all, found_socket=self._scanning.socket_appeared,
            machine_changed=self._machine_changed, key_changed=self._keys.changed,
            bus_appeared=self._desk.nudge if self._desk is not None else None,
        )  # fmt: skip
        self._asking.answered = lambda: noticing.follow_folders(self._shell.state)
        try:
            await self._first_look()
            readiness.ready()
            if self._desk is not None:
                self._desk.start()
                # By then the icon has been painted, which takes eight times the memory of its pixels.
                asyncio.get_running_loop().call_later(_PAINTED_S, lean.give_back)
            self._history.prune(self._configuring.config.agent.history_s)
            await self._stopping.wait()
        finally:
            readiness.stopping()
            await self._close(files)

    async def _close(self, files: Files) -> None:
        if self._watch is not None:
            self._watch.close()
        if self._desk is not None:
            await self._desk.close()
        files.close()
        await self._server.close()
        self._logins.close()
        self._masters.close()
        self._obstacles.close()
        self._keys.close()
        self._probing.close()
        self._hooks.close()
        await self._tasks.close()
        if self._keeper is not None:
            await self._keeper.close()
        self._history.close()

    async def _first_look(self) -> None:
        """Learn the network, the hosts and the living masters before anything is decided."""
        self._watch = start_sources(choose(look()), self._hint)
        for why in (*self._watch.why, *self._watch.problems):
            log.info("network: %s", why)
        self._shell.touch(Touched())
        self._shell.post(self._configuring.event())
        names = set(self._configuring.config.hosts)
        if self._keeper is not None:
            await self._keeper.open()
        await self._leftovers.clear()
        now = time.monotonic()
        lost = self._lost.meanwhile()
        if not self._configuring.config.agent.adopt:
            lost &= names
        past = {name: kept for name, kept in self._records.hosts().items() if name in names | lost}
        for name, kept in past.items():
            self._shell.post(remembered(name, kept, now, lost=name in lost))
        self._shell.start(self._effects)
        await self._shell.decided()
        await self._tasks.finished(f"resolve {name}" for name in names | lost)
        if self._noticing is not None:  # before the scan: later changes are then detected
            self._noticing.follow_folders(self._shell.state)
            self._noticing.changed_meanwhile(past, self._environment.agent_mark())
        await self._discovery.scan(self._state)
        self._leftovers.remove_logs()
        await self._shell.decided(Started(time.monotonic()))
        self._ready.set()
        lean.give_back()

    def _desk_heard(self, event: dict[str, Any]) -> None:
        if event["event"] == "configuration-changed" and self._desk is not None:
            self._desk.settings_changed()

    def _who(self) -> AgentFacts:
        """Return the agent's facts, and why an icon, notifications or a newer configuration are missing."""
        facts = replace(self._facts, config_error=self._configuring.error)
        if self._desk is None:
            return replace(facts, no_tray="--no-tray", no_notifications="--no-tray")
        state = self._desk.state
        return replace(facts, no_tray=state.tray, no_notifications=state.notifications)

    def _state(self) -> State:
        return self._shell.state

    # Hints and changes from outside.

    def _hint(self, hint: hints.Hint) -> None:
        match hint:
            case hints.NetworkTouched(touched):
                self._shell.touch(touched)
            case hints.Woke(asleep_s):
                now = time.monotonic()
                if now - self._woke_at > _ONE_WAKE_S:
                    self._woke_at = now
                    self._shell.post(Woke(now, asleep_s))
                self._shell.touch(Touched())
            case hints.NetworkManagerSaid(facts):
                self._network = facts.network
                self._shell.post(ManagerSaid(time.monotonic(), facts))
                self._shell.touch(Touched())
            case hints.AboutToSleep():
                log.info("about to sleep")

    def _read_network(self, lookups: Iterable[Any]) -> Any:
        if self._watch is None:
            raise RuntimeError("the network is read before its readers were chosen")
        snapshot = self._watch.read(lookups)
        name = self._network
        return replace(snapshot, name=str(name), name_of=name.interface) if name is not None else snapshot

    def _file_changed(self, path: Path) -> None:
        if self._noticing is not None:
            self._noticing.file_changed(path)

    async def _client_environment(self, env: dict[str, str]) -> None:
        if self._environment.is_news(env) and await asyncio.to_thread(self._environment.accept, env):
            log.info("SSH_AUTH_SOCK is now %s", env.get("SSH_AUTH_SOCK"))
            self._shell.post(CredentialsChanged(time.monotonic()))
        if self._desk is not None and self._environment.shown_bus(env):
            self._desk.nudge()

    def listen(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Call the listener for each event."""
        self._events.subscribe(listener)

    def _decided(self) -> None:
        """Update everything that is derived from the state."""
        self._lost.follow(self._shell.state)
        if self._keys.follow(self._shell.state) and self._noticing is not None:
            self._noticing.follow_folders(self._shell.state)
        self._views.note_change()

    # What decisions need and no other part provides.

    def _wants_sentinel(self, host: Host) -> bool:
        ours = host.master is not None and host.master.ours
        return ours and self._configuring.wants_session_probe(host.name)

    def _machine_changed(self, path: Path) -> None:
        hosts = self._shell.state.hosts.values()
        self._obstacles.changed(path, hosts, self._discovery.control_path)
