"""The composition root: creates the parts, connects them by constructor arguments, starts and stops them."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from trayagent import __version__
from trayagent.agent import clock_conversion, save_memory
from trayagent.agent.current_configuration import CurrentConfiguration
from trayagent.agent.desktop_client import make_desk
from trayagent.agent.effects import AgentEffects
from trayagent.agent.event_loop import Shell
from trayagent.agent.events.decision_log import DecisionLog
from trayagent.agent.events.event_bus import EventBus
from trayagent.agent.events.run_hooks import Hooks
from trayagent.agent.files.changed_keys import Keys
from trayagent.agent.files.file_changes import FileChanges
from trayagent.agent.files.restore_runtime_directory import RuntimeDirectory
from trayagent.agent.files.watch_master_logs import MasterLogs
from trayagent.agent.forwards.agent_socket_link import AgentSocketLinks
from trayagent.agent.forwards.hand_forwards import HandForwards
from trayagent.agent.forwards.leftover_local_sockets import LocalSockets
from trayagent.agent.forwards.remote_cleanup import RemoteCleanup
from trayagent.agent.forwards.wanted_forwards import Forwarding
from trayagent.agent.masters.check_mptcp import MptcpChecks
from trayagent.agent.masters.connect import MasterConnector
from trayagent.agent.masters.control_path_checks import ControlPaths
from trayagent.agent.masters.control_path_locks import PathLocks
from trayagent.agent.masters.control_without_login import BareControls
from trayagent.agent.masters.discovery import Discovery
from trayagent.agent.masters.discovery_schedule import DiscoverySchedule
from trayagent.agent.masters.drain_master import MasterDrainer
from trayagent.agent.masters.interactive_login import InteractiveLogins
from trayagent.agent.masters.keep_sentinels import SentinelKeeper
from trayagent.agent.masters.key_trial import KeyTrials
from trayagent.agent.masters.leftovers_of_dead_agent import Leftovers
from trayagent.agent.masters.link_added_control_path import PathLinks
from trayagent.agent.masters.lost_without_agent import LostMasters
from trayagent.agent.masters.obstacle_gone import Obstacles
from trayagent.agent.masters.probe import MasterProber
from trayagent.agent.masters.ssh_beside_master import BesideSessions
from trayagent.agent.masters.take_over import MasterReplacer
from trayagent.agent.masters.watch_for_end import MasterWatch
from trayagent.agent.masters.watch_use import MasterUse
from trayagent.agent.network_watch import NetworkWatch
from trayagent.agent.parts import Parts
from trayagent.agent.request_handler import AgentHandler
from trayagent.agent.roaming.inner_master import InnerMasters
from trayagent.agent.roaming.lost_far_relays import LostConnections
from trayagent.agent.roaming.near_relay_process import NearRelayProcess
from trayagent.agent.roaming.roaming_hosts import RoamingHosts
from trayagent.agent.roaming.terminal_login import RoamingLogins
from trayagent.agent.session_slots import SessionSlots
from trayagent.agent.state.host_records import remembered
from trayagent.agent.state.machine_ids import file_mark
from trayagent.agent.state.needed_at_start import needed_at_start
from trayagent.agent.state.records import Records, records_path
from trayagent.agent.state.resolve_when_needed import HostResolver, Resolver
from trayagent.agent.state.ssh_environment import Environment
from trayagent.agent.systemd_notify import Readiness
from trayagent.agent.tasks import Tasks
from trayagent.agent.view_updates import Views
from trayagent.config.file_paths import FilePaths
from trayagent.core.facts.events import Started
from trayagent.core.facts.user_events import CredentialsChanged
from trayagent.core.view import AgentFacts
from trayagent.desktop.scopes.choose import keeper
from trayagent.history.record_events import History
from trayagent.ipc.one_agent_lock import Lock
from trayagent.ipc.server import Server
from trayagent.ssh.os.control_sockets import listening

if TYPE_CHECKING:
    from trayagent.desktop.icon_menu_and_messages import Desk

log = logging.getLogger(__name__)

_PAINTED_S = 2.0
_RESOLVED_S = 3.0  # a slow `Match exec` of one host must not delay the others


class Agent:
    """One running agent. `run` returns after `stop`; the masters keep running."""

    def __init__(
        self, file_paths: FilePaths, configuration: CurrentConfiguration, lock: Lock, *, tray: bool
    ) -> None:
        self._configuration = configuration
        self._stopping = asyncio.Event()
        self._scanned = asyncio.Event()
        self._facts = AgentFacts(__version__, os.getpid(), clock_conversion.now_text())
        self._desk: Desk | None = None

        # The parts that nearly all others use.
        self._shell = Shell()
        self._tasks = Tasks()
        self._environment = Environment()
        self._records = Records(
            records_path(file_paths.state_dir, file_mark()),
            self._environment,
            spare_dir=file_paths.runtime_dir,
        )
        parts = Parts(file_paths, configuration, self._shell, self._tasks, self._records, self._environment)
        self._network = NetworkWatch(self._shell)

        # Hosts and events.
        resolver = Resolver(file_paths.ssh, file_paths.ssh_config, file_paths.ssh_config_files)
        self._host_resolver = HostResolver(self._shell, self._tasks, resolver)
        self._keys = Keys(self._shell, resolver)
        self._history = History(file_paths.history_db)
        self._hooks = Hooks(configuration)
        self._events = EventBus(self._history, self._hooks)
        decision_log = DecisionLog()
        views = Views(self._shell, self, self._events)

        # Forwards, and what lost connections leave behind on the server.
        agent_sockets = AgentSocketLinks(parts)
        remote_cleanup = RemoteCleanup(parts, agent_sockets)

        # Masters.
        self._discovery = Discovery(parts, resolver)
        self._discovery_schedule = schedule = DiscoverySchedule(parts, self._discovery)
        self._beside = BesideSessions(parts)
        self._obstacles = Obstacles(self._shell, self._discovery)
        paths = ControlPaths(parts, self._discovery, self._obstacles)
        self._keeper = keeper()
        connector = MasterConnector(parts, self._discovery, paths, self._keeper, resolver.slow_s)
        near_relay = NearRelayProcess(file_paths.runtime_dir, self._keeper)
        lost_connections = LostConnections(parts, near_relay)
        forwarding = Forwarding(parts, remote_cleanup, LocalSockets(self._records), lost_connections)
        locks = PathLocks()
        self._roaming = RoamingHosts(
            parts,
            self._discovery,
            forwarding,
            InnerMasters(parts, connector, self._keeper),
            near_relay,
            lost_connections,
            locks,
        )
        self._drainer = MasterDrainer(parts, forwarding)
        self._logins = InteractiveLogins(parts, self._discovery, resolver, paths)
        self._sentinels = SentinelKeeper(parts, remote_cleanup)
        hand_forwards = HandForwards(parts, forwarding)
        self._subscribe(schedule.happened, self._beside.happened, hand_forwards.happened)
        self._master_use = MasterUse(parts)
        self._master_watch = MasterWatch(parts, self._discovery, connector)
        self._lost = LostMasters(file_paths, self._records)
        self._leftovers = Leftovers(file_paths, self._records)

        # Clients.
        handler = AgentHandler(
            self,
            self._shell,
            events=self._events,
            decision_log=decision_log,
            views=views,
            logins=self._logins,
            roaming_logins=RoamingLogins(parts, self._roaming),
            schedule=schedule,
            agent_sockets=agent_sockets,
            resolver=resolver,
            beside=self._beside,
            hand_forwards=hand_forwards,
            mptcp_checks=MptcpChecks(parts),
        )
        self._server = Server(file_paths.ipc_socket, handler)
        self._runtime_directory = RuntimeDirectory(file_paths.runtime_dir, lock, self._server, owner=self)
        self._master_logs = MasterLogs(
            file_paths.runtime_dir,
            [SessionSlots(parts, self._sentinels), hand_forwards, self._master_use],
            self._runtime_directory,
        )
        self._desk = make_desk(self, handler, parts, self._network) if tray else None
        self._subscribe(self._desk_heard)

        # The parts that react to a changed state.
        self._file_changes = FileChanges(
            parts,
            resolver,
            events=self._events,
            views=views,
            hosts=self._host_resolver,
            schedule=schedule,
            obstacles=self._obstacles,
            keys=self._keys,
            desk=self._desk,
        )
        self._effects = AgentEffects(
            parts=parts,
            connector=connector,
            bare_controls=BareControls(parts),
            replacer=MasterReplacer(
                parts,
                self._discovery,
                self._obstacles,
                self._drainer,
                connector,
                agent_sockets,
                locks,
                lost_connections,
            ),
            drainer=self._drainer,
            prober=MasterProber(parts, self._sentinels),
            sentinels=self._sentinels,
            forwarding=forwarding,
            master_watch=self._master_watch,
            master_use=self._master_use,
            key_trials=KeyTrials(parts),
            roaming=self._roaming,
            agent_sockets=agent_sockets,
            hosts=self._host_resolver,
            lost=self._lost,
            keys=self._keys,
            file_changes=self._file_changes,
            path_links=PathLinks(parts),
            hand_forwards=hand_forwards,
            events=self._events,
            decision_log=decision_log,
            views=views,
        )

    def _subscribe(self, *listeners: Callable[[dict[str, Any]], None]) -> None:
        for listener in listeners:
            self._events.subscribe(listener)

    def stop(self) -> None:
        """Make `run` return soon. Does not wait."""
        self._stopping.set()

    async def ready(self) -> None:
        """Wait until the first scan is over."""
        await self._scanned.wait()

    async def run(self) -> None:
        """Scan the machine, then react to events until `stop`."""
        readiness = Readiness()
        await self._server.start()
        self._file_changes.start()
        self._master_logs.start()
        self._master_use.start()
        try:
            await self._initial_read()
            readiness.ready()
            if self._desk is not None:
                self._desk.start()
                # Painting the icon takes eight times the memory of its pixels. Return that memory afterwards.
                asyncio.get_running_loop().call_later(_PAINTED_S, save_memory.give_back)
            self._history.prune(self._configuration.config.agent.history_s)
            await self._stopping.wait()
        finally:
            readiness.stopping()
            await self._close()

    async def _close(self) -> None:
        self._network.close()
        if self._desk is not None:
            await self._desk.close()
        self._file_changes.close()
        self._master_logs.close()
        self._master_use.close()
        self._runtime_directory.close()
        await self._server.close()
        self._logins.close()
        self._master_watch.close()
        self._obstacles.close()
        self._effects.path_links.close()
        self._keys.close()
        self._sentinels.close()
        self._hooks.close()
        await self._tasks.close()
        await self._roaming.close()
        self._records.close()
        if self._keeper is not None:
            await self._keeper.close()
        self._history.close()

    async def _initial_read(self) -> None:
        """Read the network, the hosts and the living masters. Then let the core act on them (`Started`)."""
        self._network.start()
        self._shell.post(self._configuration.event())
        names = set(self._configuration.config.hosts)
        if self._keeper is not None:
            await self._keeper.open()
        await self._leftovers.clear()
        now = time.monotonic()
        lost = self._lost.meanwhile()
        if not self._configuration.config.agent.adopt:
            lost &= names
        # The core must know the hosts of draining and roaming masters before the scan finds masters of these hosts.
        owners = {kept.host for kept in self._records.draining().values()}
        owners |= {kept.host for kept in self._records.roaming().values()}
        past = {name: kept for name, kept in self._records.hosts().items() if name in names | lost | owners}
        for name, kept in past.items():
            self._shell.post(remembered(name, kept, now, lost=name in lost))
        self._shell.start(self._effects, self._network)
        await self._shell.decided()
        needed = needed_at_start(
            self._configuration.config.hosts, past.keys() | lost, masters=bool(listening(os.getuid()))
        )
        await self._host_resolver.finished(needed, within_s=_RESOLVED_S)
        await self._shell.decided()
        # Watch before the scan, so that no later change is missed.
        self._file_changes.follow_folders(self._shell.state)
        self._file_changes.changed_meanwhile(past, self._environment.agent_mark())
        await self._drainer.find()
        await self._roaming.find()
        await self._discovery.scan()
        self._discovery_schedule.start()
        self._leftovers.remove_logs()
        await self._shell.decided(Started(time.monotonic()))
        self._beside.start()
        self._scanned.set()
        save_memory.give_back()

    def watch_runtime_directory(self) -> None:
        """Watch the files in the runtime directory, which was made again."""
        self._master_logs.follow()
        self._file_changes.follow_folders(self._shell.state)

    def _desk_heard(self, event: dict[str, Any]) -> None:
        if event["event"] == "configuration-changed" and self._desk is not None:
            self._desk.settings_changed()

    def facts(self) -> AgentFacts:
        """Return facts about the agent, and why it has no icon, has no notifications, or rejected the configuration."""
        facts = replace(
            self._facts, config_error=self._configuration.error, unlisted_ssh=self._beside.unlisted()
        )
        if self._desk is None:
            return replace(facts, no_tray="--no-tray", no_notifications="--no-tray")
        state = self._desk.state
        return replace(facts, no_tray=state.tray, no_notifications=state.notifications, tray=state.protocol)

    async def take_environment(self, env: dict[str, str]) -> None:
        """Note a client's environment: it may name an ssh-agent or a session bus that the agent does not know."""
        if self._environment.ssh_agent.is_news(env) and await asyncio.to_thread(
            self._environment.ssh_agent.accept, env
        ):
            log.info("SSH_AUTH_SOCK is now %s", env.get("SSH_AUTH_SOCK"))
            self._shell.post(CredentialsChanged(time.monotonic()))
        news = [self._environment.remember_bus(env), self._environment.remember_display(env)]
        if self._desk is not None and any(news):
            self._desk.nudge()

    def listen(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Call the listener for each event from now on."""
        self._events.subscribe(listener)
