"""The dispatch of actions: passes each action to the part of the agent that carries it out."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from trayagent.agent.events.decision_log import DecisionLog
from trayagent.agent.events.event_bus import EventBus
from trayagent.agent.files.changed_keys import Keys
from trayagent.agent.files.file_changes import FileChanges
from trayagent.agent.forwards.agent_socket_link import AgentSocketLinks
from trayagent.agent.forwards.hand_forwards import HandForwards
from trayagent.agent.forwards.wanted_forwards import Forwarding
from trayagent.agent.masters.connect import MasterConnector
from trayagent.agent.masters.control_without_login import BareControls
from trayagent.agent.masters.drain_master import MasterDrainer
from trayagent.agent.masters.keep_sentinels import SentinelKeeper
from trayagent.agent.masters.key_trial import KeyTrials
from trayagent.agent.masters.link_added_control_path import PathLinks
from trayagent.agent.masters.lost_without_agent import LostMasters
from trayagent.agent.masters.probe import MasterProber
from trayagent.agent.masters.take_over import MasterReplacer
from trayagent.agent.masters.watch_for_end import MasterWatch
from trayagent.agent.masters.watch_use import MasterUse
from trayagent.agent.parts import Parts
from trayagent.agent.roaming.roaming_hosts import RoamingHosts
from trayagent.agent.state.resolve_when_needed import HostResolver
from trayagent.agent.view_updates import Views
from trayagent.core.decision_context import Why
from trayagent.core.facts import actions as a
from trayagent.core.facts.events import TimerExpired
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.network import Touched


@dataclass(kw_only=True, slots=True)
class AgentEffects:
    """The composition of all effects; it passes each action to one of them."""

    parts: Parts
    connector: MasterConnector
    bare_controls: BareControls
    replacer: MasterReplacer
    drainer: MasterDrainer
    prober: MasterProber
    sentinels: SentinelKeeper
    forwarding: Forwarding
    master_watch: MasterWatch
    master_use: MasterUse
    key_trials: KeyTrials
    roaming: RoamingHosts
    agent_sockets: AgentSocketLinks
    hosts: HostResolver
    lost: LostMasters
    keys: Keys
    file_changes: FileChanges
    path_links: PathLinks
    hand_forwards: HandForwards
    events: EventBus
    decision_log: DecisionLog
    views: Views
    _timers: dict[str, tuple[float, asyncio.TimerHandle]] = field(default_factory=dict, init=False)

    def carry_out(self, action: a.Action) -> None:
        """Carry out an action, or start a task that carries it out."""
        host = self.parts.shell.state.hosts.get(action.name)
        match action:
            case a.SetTimer():
                self._set_timer(action)
            case a.SendProbe():
                self.prober.send(action.name, action.master, large=action.large, second=action.second)
            case a.Observe():
                self.prober.observe(action.name, action.master, action.probed_at)
            case a.Dial() | a.DialBare() | a.TryKeys() if host is not None:
                self._begin(action, host)
            case a.TakeOver() if host is not None:
                self.replacer.take_over(action, host)
            case a.BeginRoaming() | a.AttachByPort() | a.AttachRoaming() | a.RestorePath() if (
                host is not None
            ):
                self._roam(action, host)
            case a.EnsureForwards():
                self.forwarding.ensure(action)
            case a.Publish():
                self.events.publish(action)
            case a.Remember() if host is not None and host.draining is None:
                self.parts.records.remember(host, time.monotonic())
            case _:
                self._without_facts(action)

    def _roam(
        self, action: a.BeginRoaming | a.AttachByPort | a.AttachRoaming | a.RestorePath, host: Host
    ) -> None:
        match action:
            case a.BeginRoaming():
                self.roaming.begin(action, host)
            case a.AttachByPort():
                self.roaming.attach_by_port(action, host)
            case a.AttachRoaming():
                self.roaming.attach(action, host)
            case a.RestorePath():
                self.roaming.move_back(action, host)

    def _begin(self, action: a.Dial | a.DialBare | a.TryKeys, host: Host) -> None:
        match action:
            case a.Dial():
                self.connector.dial(action, host)
            case a.DialBare():
                self.bare_controls.begin(action, host)
            case a.TryKeys():
                self.key_trials.begin(action, host)

    def _without_facts(self, action: a.Action) -> None:
        match action:
            case a.ReadNetwork():
                self.parts.shell.touch(Touched())
            case a.CountCarried():
                self.drainer.count(action)
            case a.Resolve():
                self.hosts.resolve(action.name, action.lookups)
            case a.Redial():
                self.connector.redial(action)
            case a.Abort():
                self.connector.abort(action)
            case a.EndRoaming():
                self.roaming.end(action)
            case a.Discard():
                self.replacer.discard(action)
            case a.Mute():
                self.connector.mute(action.master, muted=action.muted)
            case a.Kill():
                self.replacer.kill(action)
            case _:
                pass  # the host was removed meanwhile

    def decided(self, whys: tuple[Why, ...]) -> None:
        """Keep the reasons of the decisions."""
        self.decision_log.add(whys)

    def all_decided(self) -> None:
        """Pass the new state to each part that depends on it."""
        state = self.parts.shell.state
        self.master_watch.follow(state)
        self.master_use.follow(state)
        self.prober.follow(state)
        self.sentinels.follow(state)
        self.agent_sockets.keep(state)
        self.lost.follow(state)
        self.roaming.follow(state)
        self.keys.follow(state)
        self.file_changes.follow(state)
        self.path_links.follow(state)
        self.hand_forwards.follow(state)
        self.views.note_change()

    def _set_timer(self, action: a.SetTimer) -> None:
        current = self._timers.get(action.name)
        if current is not None:
            if current[0] == action.at:
                return
            current[1].cancel()
            del self._timers[action.name]
        if action.at is None or action.at == float("inf"):
            return
        loop = asyncio.get_running_loop()
        self._timers[action.name] = (action.at, loop.call_at(action.at, self._time_came, action.name))

    def _time_came(self, name: str) -> None:
        self._timers.pop(name, None)
        self.parts.shell.post(TimerExpired(time.monotonic(), name))
