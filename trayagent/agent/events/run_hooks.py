"""Hooks: the commands of the configuration that the agent runs when an event happens."""

from __future__ import annotations

import logging
import os
import subprocess
from typing import Any

from trayagent.agent.current_configuration import CurrentConfiguration
from trayagent.ssh.os.process import PidWatch

log = logging.getLogger(__name__)

_HOOKS_AT_ONCE = 16  # hooks that never end must not exhaust the machine


class Hooks:
    """Runs the hook of an event, and logs a hook that fails."""

    def __init__(self, configuration: CurrentConfiguration) -> None:
        self._configuration = configuration
        self._running: dict[int, tuple[subprocess.Popen[bytes], PidWatch]] = {}

    def run(self, event: dict[str, Any]) -> None:
        """Start the hook of this event, if the configuration has one.

        The hook gets the event as TRAYAGENT_ variables.
        """
        words = self._configuration.config.hook(event["event"])
        if not words:
            return
        if len(self._running) >= _HOOKS_AT_ONCE:
            log.warning(
                "hook for %s not run: %d hooks have not ended yet", event["event"], len(self._running)
            )
            return
        # `pairs` is not a text; the reason or `evidence` contains the pairs as text.
        texts = {key: str(value) for key, value in event.items() if value is not None and key != "pairs"}
        details = {f"TRAYAGENT_{key.upper()}": text for key, text in texts.items()}
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
        self._running[process.pid] = (process, PidWatch(process.pid, lambda: self._ended(process.pid)))

    def close(self) -> None:
        """Stop watching hooks. Running hooks continue."""
        for _, watch in self._running.values():
            watch.close()

    def _ended(self, pid: int) -> None:
        process, watch = self._running.pop(pid)
        watch.close()
        status = process.wait()
        if status:
            log.warning("a hook (pid %d) ended with %d", pid, status)
