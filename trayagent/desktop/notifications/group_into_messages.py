"""Turns findings into messages: findings with one cause share a message; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trayagent.desktop.notifications.findings import Finding
from trayagent.desktop.notifications.message_type import Message
from trayagent.desktop.notifications.problems_worth_a_message import ACTIONS, BY_HAND, WARNINGS
from trayagent.presentation.text import clean, isolated
from trayagent.presentation.translation import _, ngettext

BACK = "back"
"""The key of "connected again"."""

# More names make a message unreadable.
_NAMES = 3


def key_of(finding: Finding) -> str:
    """Return the key of the finding's message: its code, with the subject if each subject has its own message."""
    return f"{finding.code} {finding.subject}" if WARNINGS[finding.code].per_subject else finding.code


def messages(told: Iterable[Finding]) -> dict[str, Message]:
    """Return the messages for these findings, by key."""
    groups: dict[str, list[Finding]] = {}
    for finding in told:
        groups.setdefault(key_of(finding), []).append(finding)
    return {key: _message(key, group) for key, group in groups.items()}


def back_again(hosts: Sequence[str]) -> Message:
    """Return the message "connected again" for these hosts."""
    title = _("{names}: connected again").format(names=_names(hosts))
    return Message(BACK, title, "", "low", passing=True, hosts=tuple(hosts), icon="network-transmit-receive")


def _message(key: str, group: Sequence[Finding]) -> Message:
    warning = WARNINGS[group[0].code]
    hosts = tuple(dict.fromkeys(name for finding in group for name in finding.hosts))
    words = {
        "names": _names(hosts),
        "vpn": isolated(clean(group[0].subject)),
        "problem": _problem(group),
    }
    return Message(
        key,
        _(warning.title).format_map(words),
        (_(warning.text) if warning.text else "").format_map(words).strip(),
        warning.urgency,
        tuple((name, _(ACTIONS[name])) for name in warning.actions),
        stays=warning.stays,
        hosts=hosts,
        vpn=group[0].subject if warning.code == "vpn-needs-sign-in" else None,
        about=frozenset((f.subject, f.words) for f in group),
        icon=warning.icon,
        by_hand=_by_hand(warning.actions[0], group[0].subject, hosts),
    )


def _by_hand(action: str, subject: str, hosts: Sequence[str]) -> str:
    """Return what to do instead of pressing a button. Like a button, the text names the message's first host."""
    words = {"vpn": isolated(clean(subject)), "host": clean(hosts[0]) if hosts else ""}
    return _(BY_HAND[action]).format_map(words) if action in BY_HAND else ""


def _names(names: Sequence[str]) -> str:
    shown = [isolated(clean(name)) for name in names[:_NAMES]]
    if len(names) > _NAMES:
        left = len(names) - _NAMES
        words = ngettext("{names} and {count} more", "{names} and {count} more", left)
        return words.format(names=", ".join(shown), count=left)
    if len(shown) < 2:
        return "".join(shown)
    return _("{one} and {other}").format(one=", ".join(shown[:-1]), other=shown[-1])


def _problem(group: Sequence[Finding]) -> str:
    """Return the texts of the hosts' problems: one text if all have the same, otherwise each with its host's name."""
    different = dict.fromkeys(f.words for f in group if f.words)
    if len(different) <= 1:
        return next(iter(different), "")
    lines = [f"{f.subject}: {f.words}" for f in group if f.words]
    return "\n".join(lines[:_NAMES] + (["…"] if len(lines) > _NAMES else []))
