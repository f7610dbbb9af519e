"""Decide when to report NetworkManager's facts: only after a change, and at most twice for a burst."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trayagent.core.facts.network_manager import ManagerFacts

# Report the first news immediately, and the rest of a burst in one more hint. The start of a VPN is a dozen signals.
BURST_S = 0.05
# How long a report waits for the answer that names the interface, which takes 2 to 5 ms on an idle machine.
ANSWER_S = 0.1


class ManagerHints:
    """After news, reads the facts and reports them if they differ from the last report.

    `read` returns None while the facts are not known yet.
    """

    def __init__(
        self, read: Callable[[], ManagerFacts | None], report: Callable[[ManagerFacts], None]
    ) -> None:
        self._read, self._report = read, report
        self._reported = ManagerFacts()
        self._reported_at_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def news(self, *, awaiting_answer: bool = False) -> None:
        """Schedule a report: now, at the end of a burst, or when an expected answer comes."""
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        wait_s = max(self._reported_at_s + BURST_S - loop.time(), ANSWER_S if awaiting_answer else 0.0)
        self._timer = loop.call_later(max(0.0, wait_s), self._report_change)

    def put_off(self) -> None:
        """Cancel the scheduled report. The next call of `news` schedules another one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _report_change(self) -> None:
        self._timer = None
        facts = self._read()
        if facts is not None and facts != self._reported:
            self._reported, self._reported_at_s = facts, asyncio.get_running_loop().time()
            self._report(facts)
