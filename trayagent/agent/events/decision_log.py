"""The decision log: the last decisions about each host with their evidence, for `trayagent why`."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from trayagent.agent import clock_conversion
from trayagent.core.decision_context import Why

log = logging.getLogger(__name__)

DECISIONS_KEPT = 50  # for each host
_BEGIN = {"bare-control", "dial", "probe"}
_CONTROLS = {"bare-control", "dial", "wait"}


class DecisionLog:
    """Keeps the last decisions about each host, and writes all decisions to the log."""

    def __init__(self) -> None:
        self._decisions: dict[str, deque[dict[str, Any]]] = {}

    def add(self, whys: tuple[Why, ...]) -> None:
        """Keep the reasons of decisions.

        Skip a wait or offline verdict that repeats the last verdict and row, and the wait for what has just begun.
        """
        begun: set[str] = set()
        carried_out = {why.name for why in whys if why.verdict in _CONTROLS}
        for why in whys:
            if why.verdict in _BEGIN:
                begun.add(why.name)
            elif why.verdict == "wait" and why.name in begun:
                continue
            kept = self._decisions.setdefault(why.name, deque(maxlen=DECISIONS_KEPT))
            last = kept[-1] if kept else {}
            if (last.get("row"), last.get("verdict")) == (why.row, why.verdict) and why.verdict in {
                "wait",
                "offline",
            }:
                continue
            if why.verdict != "control" or why.name not in carried_out:  # the next line has the same evidence
                log.info("%s row=%d %s: %s", why.name, why.row, why.verdict, why.evidence)
            kept.append(
                {
                    "at": clock_conversion.now_text(),
                    "row": why.row,
                    "verdict": why.verdict,
                    "evidence": str(why.evidence),
                    "pairs": [list(pair) for pair in why.evidence.pairs],
                }
            )

    def decisions(self, name: str) -> list[dict[str, Any]]:
        """Return the last decisions about a host, oldest first."""
        return list(self._decisions.get(name, ()))
