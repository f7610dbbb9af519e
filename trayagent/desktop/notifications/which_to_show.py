"""Decides which messages are on the screen: one for each cause, and none for a problem that the agent fixes; pure.

Theory of operation. `step` gets the view and the time at each change. It returns which messages to show and to
withdraw, and when to call `step` again. A problem is shown after it has lasted `visible_after_s` (warnings.py) without
a break. The same message is shown once, and a message with another text replaces it. A message is withdrawn when its
problem is solved. While there is no network, no message is shown. When the network returns, the times start again.
"Connected again" is shown after a loss that was shown, and with `notify = "all"` after any outage.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from trayagent.desktop.notifications.findings import Finding, View, findings
from trayagent.desktop.notifications.group_into_messages import back_again, key_of, messages
from trayagent.desktop.notifications.message_type import Message
from trayagent.desktop.notifications.problems_worth_a_message import SNOOZE_S, WARNINGS

Notify = Literal["all", "problems", "none"]

Subject = tuple[str, str]
"""(code, subject): one occurrence of a problem."""


# In these states the view surely shows whether a host has a problem. In other states the host is in transition or
# blocked.
_CERTAIN = frozenset({"connected", "idle", "needs-sign-in", "failed"})


class Snoozed(Struct, frozen=True):
    """A message that is not shown until `until`."""

    message: Message
    until: float


class Memory(Struct, frozen=True):
    """What `step` remembers from call to call. Times are in seconds, by the clock of `now` in `step`."""

    since: Mapping[Subject, float] = field(default_factory=dict)
    """When each occurrence began."""
    told: frozenset[Subject] = frozenset()
    """The occurrences that are on the screen."""
    quiet: Mapping[Subject, float] = field(default_factory=dict)
    """For a problem that was shown and has ended: the time until which it is not shown again."""
    shown: Mapping[str, Message] = field(default_factory=dict)
    closed: Mapping[str, Message] = field(default_factory=dict)
    """Messages that the user or a timeout removed from the screen."""
    snoozed: Mapping[str, Snoozed] = field(default_factory=dict)
    was_up: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    """Hosts whose loss was shown and that are not connected again yet."""
    recoveries: Mapping[str, int] = field(default_factory=dict)


class Step(Struct, frozen=True):
    """What to do now. `ask_at`: when to call `step` again if nothing changes (None: only after a change)."""

    memory: Memory
    show: tuple[Message, ...] = ()
    withdraw: tuple[str, ...] = ()
    ask_at: float | None = None


def step(memory: Memory, view: View, now: float, notify: Notify = "problems") -> Step:
    """Return which messages to show and to withdraw.

    `now` is in seconds, by a clock that stops while the machine sleeps.
    """
    found = findings(view, memory.was_up)
    since = {_subject(f): memory.since.get(_subject(f), now) for f in found}
    keys = {key_of(f) for f in found}
    hidden = _hidden(memory, view)
    snoozed = {k: s for k, s in memory.snoozed.items() if s.until > now and k in keys | hidden}
    closed = {key: message for key, message in memory.closed.items() if key in keys | hidden}
    due = {s: max(t + WARNINGS[s[0]].visible_after_s, memory.quiet.get(s, t)) for s, t in since.items()}

    told = [f for f in found if due[_subject(f)] <= now and key_of(f) not in snoozed and notify != "none"]
    wanted = messages(told)
    new = [m for key, m in wanted.items() if memory.shown.get(key) != m and not _dismissed(m, closed)]
    new_keys = {message.key for message in new}

    up = frozenset(h["name"] for h in view["hosts"] if h["state"] == "connected")
    back = _back(memory, view, up, notify)
    after = Memory(
        since=since,
        told=frozenset(_subject(f) for f in told),
        quiet=_quiet(memory, since, now),
        shown=wanted,
        closed={key: message for key, message in closed.items() if key not in new_keys},
        snoozed=snoozed,
        was_up=(memory.was_up | up) & _should_be_up(view),
        lost=((memory.lost | {f.subject for f in told if f.code == "lost"}) & _should_be_up(view)) - up,
        recoveries={h["name"]: h["recoveries"] for h in view["hosts"]},
    )
    later = [t for t in (*due.values(), *(s.until for s in snoozed.values())) if now < t < float("inf")]
    return Step(
        after,
        (*new, back_again(back)) if back else tuple(new),
        tuple(key for key in memory.shown if key not in wanted),
        min(later, default=None),
    )


def snooze(memory: Memory, key: str, now: float) -> Memory:
    """Return the memory after "Snooze": the message is not shown for an hour, or until its problem is solved."""
    if key not in memory.shown:
        return memory
    return replace(memory, snoozed={**memory.snoozed, key: Snoozed(memory.shown[key], now + SNOOZE_S)})


def closed(memory: Memory, key: str, acted_on: str | None = None) -> Memory:
    """Return the memory after a message left the screen: it is not shown again for the same subjects.

    `acted_on`: the user pressed a button, which acted on this host only. For the message's other hosts, the problem is
    shown again.
    """
    message = memory.shown.get(key)
    if message is None:
        return memory
    if acted_on is not None:
        message = replace(message, about=frozenset(a for a in message.about if a[0] == acted_on))
    return replace(memory, closed={**memory.closed, key: message})


def _subject(finding: Finding) -> Subject:
    return finding.code, finding.subject


def _hidden(memory: Memory, view: View) -> set[str]:
    """Return the keys of dismissed messages whose problem may continue although the view does not show it now."""
    away = view["agent"]["paused"] or not view["network"]["online"]
    moving = {host["name"] for host in view["hosts"] if host["state"] not in _CERTAIN}
    dismissed = {**memory.closed, **{key: snoozed.message for key, snoozed in memory.snoozed.items()}}
    return {key for key, message in dismissed.items() if away or moving.intersection(message.hosts)}


def _dismissed(message: Message, closed: Mapping[str, Message]) -> bool:
    """Report whether the user dismissed this message, and it has no news since.

    A new subject is news. If the message stays until the user acts, a new text about a known subject is news, too.
    """
    if message.key not in closed:
        return False
    known = closed[message.key].about
    if message.stays:
        return message.about <= known
    return {subject for subject, _ in message.about} <= {subject for subject, _ in known}


def _quiet(memory: Memory, since: Mapping[Subject, float], now: float) -> dict[Subject, float]:
    """Return until when each problem is not shown again. Add the problems that were shown and have just ended."""
    ended = {s: now + WARNINGS[s[0]].quiet_s for s in memory.told if s not in since}
    return {s: until for s, until in {**memory.quiet, **ended}.items() if until > now}


def _should_be_up(view: View) -> frozenset[str]:
    """Return the hosts that should be up. If the user ended a connection, its host is not among them."""
    return frozenset(h["name"] for h in view["hosts"] if h["state"] not in {"idle", "paused"})


def _back(memory: Memory, view: View, up: AbstractSet[str], notify: Notify) -> list[str]:
    """Return the hosts whose recovery is shown: after a loss that was shown, or with "all" after any outage."""
    if notify == "none" or view["agent"]["paused"]:
        return []
    return [
        host["name"]
        for host in view["hosts"]
        if host["name"] in up
        and (
            host["name"] in memory.lost
            or (
                notify == "all"
                and host["recoveries"] > memory.recoveries.get(host["name"], host["recoveries"])
            )
        )
    ]
