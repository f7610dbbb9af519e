"""Which messages are to be on the screen: one cause is one message, and what heals by itself is none; pure.

Theory of operation. `step` gets the view and the time whenever either changed, and returns what to
show and to withdraw, and when it wants to be asked again. A problem is told when it has lasted its
time (warnings.py) without a break; the same message is told once; another text replaces it; it is
withdrawn when it is solved. While the network is away everything waits, and its time starts anew
when the network returns. "Connected again" is told only about a loss that was told.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Literal

from trayagent.desktop.notifications.findings import Finding, View, findings
from trayagent.desktop.notifications.message import Message
from trayagent.desktop.notifications.warnings import SNOOZE_S, WARNINGS
from trayagent.desktop.notifications.wording import back_again, key_of, messages

Notify = Literal["all", "problems", "none"]

Subject = tuple[str, str]
"""(code, subject): one occurrence of a problem."""


# In these a host tells what is wrong with it, or that nothing is; in the others it is on its way, or cannot.
_SETTLED = frozenset({"connected", "idle", "needs-sign-in", "failed"})


@dataclass(frozen=True, slots=True)
class Snoozed:
    """A message that is quiet until a time."""

    message: Message
    until: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What the registry knows of the past; times are those given to `step`, in seconds."""

    since: Mapping[Subject, float] = field(default_factory=dict)
    """When each occurrence began."""
    told: frozenset[Subject] = frozenset()
    """The occurrences that are on the screen."""
    quiet: Mapping[Subject, float] = field(default_factory=dict)
    """Until when a problem that was told and ended is not told again."""
    shown: Mapping[str, Message] = field(default_factory=dict)
    closed: Mapping[str, Message] = field(default_factory=dict)
    """Messages that the person or time took from the screen."""
    snoozed: Mapping[str, Snoozed] = field(default_factory=dict)
    was_up: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    """Hosts whose loss was told and that are not back."""
    recoveries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now, and when to ask again though nothing changed (None: not before it does)."""

    memory: Memory
    show: tuple[Message, ...] = ()
    withdraw: tuple[str, ...] = ()
    ask_at: float | None = None


def step(memory: Memory, view: View, now: float, notify: Notify = "problems") -> Step:
    """Return what to show and to withdraw; `now` is a clock that stands still while the machine sleeps."""
    found = findings(view, memory.was_up)
    since = {_subject(f): memory.since.get(_subject(f), now) for f in found}
    keys = {key_of(f) for f in found}
    hidden = _hidden(memory, view)
    snoozed = {k: s for k, s in memory.snoozed.items() if s.until > now and k in keys | hidden}
    closed = {key: message for key, message in memory.closed.items() if key in keys | hidden}
    due = {s: max(t + WARNINGS[s[0]].visible_after_s, memory.quiet.get(s, t)) for s, t in since.items()}

    told = [f for f in found if due[_subject(f)] <= now and key_of(f) not in snoozed and notify != "none"]
    wanted = messages(told)
    new = [m for key, m in wanted.items() if memory.shown.get(key) != m and not _seen(m, closed)]
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
        was_up=(memory.was_up | up) & _cared_for(view),
        lost=((memory.lost | {f.subject for f in told if f.code == "lost"}) & _cared_for(view)) - up,
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
    """Return the memory after "Snooze": this cause is quiet for an hour, or until it is solved."""
    if key not in memory.shown:
        return memory
    return replace(memory, snoozed={**memory.snoozed, key: Snoozed(memory.shown[key], now + SNOOZE_S)})


def closed(memory: Memory, key: str, acted_on: str | None = None) -> Memory:
    """Return the memory after a message left the screen: it is not told again about the same.

    `acted_on`: it left because of its button, which served this host; the others are told again.
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
    """Return the keys of what the person put away and of which the view tells nothing now: it may go on."""
    away = view["agent"]["paused"] or not view["network"]["online"]
    moving = {host["name"] for host in view["hosts"] if host["state"] not in _SETTLED}
    put_away = {**memory.closed, **{key: snoozed.message for key, snoozed in memory.snoozed.items()}}
    return {key for key, message in put_away.items() if away or moving.intersection(message.hosts)}


def _seen(message: Message, closed: Mapping[str, Message]) -> bool:
    """Report whether the person has put this message away, and it tells nothing new.

    New is another subject, and where the person has to act also another word about one.
    """
    if message.key not in closed:
        return False
    known = closed[message.key].about
    if message.stays:
        return message.about <= known
    return {subject for subject, _ in message.about} <= {subject for subject, _ in known}


def _quiet(memory: Memory, since: Mapping[Subject, float], now: float) -> dict[Subject, float]:
    """Return the quiet times that still run, with those of what was told and ended now."""
    ended = {s: now + WARNINGS[s[0]].quiet_s for s in memory.told if s not in since}
    return {s: until for s, until in {**memory.quiet, **ended}.items() if until > now}


def _cared_for(view: View) -> frozenset[str]:
    """Return the hosts that are wanted up: an end that the user wished is no loss."""
    return frozenset(h["name"] for h in view["hosts"] if h["state"] not in {"idle", "paused"})


def _back(memory: Memory, view: View, up: AbstractSet[str], notify: Notify) -> list[str]:
    """Return the hosts whose return is to be told: after a told loss, with "all" after any outage."""
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
