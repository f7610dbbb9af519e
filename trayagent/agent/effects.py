"""The dispatch of actions: which part of the agent carries out which action."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from trayagent.agent.events.decision_log import DecisionLog
from trayagent.agent.events.event_bus import EventBus
from trayagent.agent.forwards.agent_socket import AgentSocketLinks
from trayagent.agent.forwards.wanted_forwards import Forwarding
from trayagent.agent.masters.bare_control import BareControls
from trayagent.agent.masters.connect import MasterConnector
from trayagent.agent.masters.key_trial import KeyTrials
from trayagent.agent.masters.probe import MasterProber
from trayagent.agent.masters.take_over import MasterReplacer
from trayagent.agent.masters.watch import MasterWatch
from trayagent.agent.shell import Shell
from trayagent.agent.state.records import Records
from trayagent.core.context import Why
from trayagent.core.facts import actions as a
from trayagent.core.facts.events import TimeCame
from trayagent.core.facts.hosts import Host


class AgentEffects:
    """The composition of all effects; it passes each action to one of them."""

    def __init__(  # noqa: PLR0913  # a composition takes its parts
        self,
        shell: Shell,
        *,
        dialling: MasterConnector,
        bare_controls: BareControls,
        taking_over: MasterReplacer,
        probing: MasterProber,
        forwarding: Forwarding,
        masters: MasterWatch,
        records: Records,
        events: EventBus,
        decision_log: DecisionLog,
        trying: KeyTrials,
        linking: AgentSocketLinks,
        resolve: Callable[[str, bool], None],
        wants_sentinel: Callable[[Host], bool],
        changed: Callable[[], None],
    ) -> None:
        self._shell = shell
        self._dialling = dialling
        self._bare_controls = bare_controls
        self._taking_over = taking_over
        self._probing = probing
        self._forwarding = forwarding
        self._masters = masters
        self._records = records
        self._events = events
        self._decision_log = decision_log
        self._trying = trying
        self._linking = linking
        self._resolve = resolve
        self._wants_sentinel = wants_sentinel
        self._changed = changed
        self._timers: dict[str, tuple[float, asyncio.TimerHandle]] = {}

    def carry_out(self, action: a.Action) -> None:
        """Carry out an action, or start it."""
        host = self._shell.state.hosts.get(action.name)
        match action:
            case a.LookAt():
                self._look_at(action)
            case a.SendProbe():
                self._probing.send(action.name, action.master, large=action.large, second=action.second)
            case a.Observe():
                self._probing.observe(action.name, action.master)
            case a.Dial() | a.DialBare() if host is not None:
                self._begin(action, host)
            case a.TryKeys() if host is not None:
                self._trying.begin(action, host)
            case a.TakeOver() if host is not None:
                self._taking_over.take_over(action, host, self._linking.hand_over)
            case a.EnsureForwards():
                self._forwarding.ensure(action)
            case a.Tell():
                self._events.publish(action)
            case a.Remember() if host is not None:
                self._records.remember(host, time.monotonic())
            case _:
                self._without_facts(action)

    def _begin(self, action: a.Dial | a.DialBare, host: Host) -> None:
        if isinstance(action, a.DialBare):
            self._bare_controls.begin(action, host)
        else:
            self._dialling.dial(action, host)

    def _without_facts(self, action: a.Action) -> None:
        match action:
            case a.Resolve():
                self._resolve(action.name, action.lookups)
            case a.Redial():
                self._dialling.redial(action)
            case a.Abort():
                self._dialling.abort(action)
            case a.Discard():
                self._taking_over.discard(action)
            case a.Kill():
                self._taking_over.kill(action, self._linking.release)
            case _:
                pass  # the host is gone by now

    def decided(self, whys: tuple[Why, ...]) -> None:
        """Keep the reasons of the decisions."""
        self._decision_log.add(whys)

    def settled(self) -> None:
        """Bring the masters' watches, sentinels and agent sockets in line with the state."""
        self._masters.follow(self._shell.state)
        self._probing.keep_sentinels(self._shell.state, self._wants_sentinel)
        self._linking.keep(self._shell.state)
        self._changed()

    def _look_at(self, action: a.LookAt) -> None:
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
        self._shell.post(TimeCame(time.monotonic(), name))
