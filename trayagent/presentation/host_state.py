"""Describe a host's state with its times: "connected since 14:02", "no answer since 16:34, next try 16:40:05"; pure.

A host is an entry of `hosts` in `status --json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from trayagent.presentation.states import words_of
from trayagent.presentation.times import clock
from trayagent.presentation.translation import _, to_translate

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

FAILS_BY = {
    "timed-out": to_translate("no answer"),
    "refused": to_translate("connection refused"),
    "name-not-found": to_translate("name not found"),
}
"""What to show instead of "waiting", by the code of the host's problem."""


def state_words(host: Mapping[str, Any], now: datetime) -> str:
    """Return the state, since when it lasts, and when the next try is due, as far as this is known.

    An older agent does not report `failing_since`.
    """
    problem = host["problem"] or {}
    words, since = words_of(host), host["since"]
    if host["state"] == "waiting" and problem.get("code") in FAILS_BY:
        words, since = _(FAILS_BY[problem["code"]]), host.get("failing_since") or since
    shown, due = clock(since, now), clock(host["next_retry"], now, exact=True)
    if shown:
        words = _("{state} since {time}").format(state=words, time=shown)
    return _("{state}, next try {time}").format(state=words, time=due) if due else words
