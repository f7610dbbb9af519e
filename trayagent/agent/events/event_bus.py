"""The event log: passes events to clients, the history and hooks, and keeps the decisions of each host."""

from __future__ import annotations

import logging
import os
import subprocess
from collections import deque
from collections.abc import Callable
from typing import Any

from trayagent.agent import clock as wall
from trayagent.config.model import Config
from trayagent.core.context import Why
from trayagent.core.facts.actions import Tell
from trayagent.history.store import History
from trayagent.ssh.os.process import PidWatch

log = logging.getLogger(__name__)

DECISIONS_KEPT = 50  # of each host, for `trayagent why`
_HOOKS_AT_ONCE = 16  # hooks that never end must not exhaust the machine


class EventBus:
    """Passes events on, and remembers the last decisions about each host."""

    def __init__(self, history: History, config: Callable[[], Config]) -> None:
        self._history = history
        self._config = config
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self._decisions: dict[str, deque[dict[str, Any]]] = {}
        self._hooks: dict[int, tuple[subprocess.Popen[bytes], PidWatch]] = {}

    def tell(self, tell: Tell) -> None:
        """Publish an event: log it, record it in the history, notify listeners, and run its hook."""
        event = {
            "at": wall.now_text(),
            "event": tell.event,
            "host": tell.name or None,
            "reason": tell.reason,
            **{k: v for k, v in tell.details.items() if v is not None},
        }
        log.info("%s %s %s", tell.event, tell.name or "-", tell.reason)
        self._history.record(event)
        for listener in list(self._listeners):
            listener(event)
        self._run_hook(event)

    def because(self, whys: tuple[Why, ...]) -> None:
        """Remember the reasons of decisions. A repeated wait or offline verdict of the same row is kept once."""
        for why in whys:
            kept = self._decisions.setdefault(why.name, deque(maxlen=DECISIONS_KEPT))
            last = kept[-1] if kept else {}
            if (last.get("row"), last.get("verdict")) == (why.row, why.verdict) and why.verdict in {
                "wait",
                "offline",
            }:
                continue
            log.info("%s row=%d %s: %s", why.name, why.row, why.verdict, why.evidence)
            kept.append(
                {"at": wall.now_text(), "row": why.row, "verdict": why.verdict, "evidence": why.evidence}
            )

    def decisions(self, name: str) -> list[dict[str, Any]]:
        """Return the last decisions about a host, oldest first."""
        return list(self._decisions.get(name, ()))

    def subscribe(self, listener: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Call the listener for each event from now on; return a function that stops this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def close(self) -> None:
        """Stop watching hooks. Running hooks continue."""
        for _, watch in self._hooks.values():
            watch.close()

    def _run_hook(self, event: dict[str, Any]) -> None:
        words = self._config().hook(event["event"])
        if not words:
            return
        if len(self._hooks) >= _HOOKS_AT_ONCE:
            log.warning("hook for %s not run: %d hooks have not ended yet", event["event"], len(self._hooks))
            return
        details = {
            f"TRAYAGENT_{key.upper()}": str(value) for key, value in event.items() if value is not None
        }
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **details},
                start_new_session=True,
            )
        except OSError as error:
            log.warning("hook for %s cannot be run: %s", event["event"], error)
            return
        self._hooks[process.pid] = (process, PidWatch(process.pid, lambda: self._hook_ended(process.pid)))

    def _hook_ended(self, pid: int) -> None:
        process, watch = self._hooks.pop(pid)
        watch.close()
        status = process.wait()
        if status:
            log.warning("a hook (pid %d) ended with %d", pid, status)
