"""Finds the problems in the view (`status --json`), each with its subject; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from msgspec import Struct

from trayagent.desktop.notifications.problems_worth_a_message import WARNINGS
from trayagent.presentation import states, summary
from trayagent.presentation.translation import ngettext

View = Mapping[str, Any]

# A host in one of these states should be up and could be, but is not.
_DOWN = states.WORKING | {"waiting"}

# How many failed forwards a message lists. Notification servers cut longer texts.
_FORWARDS = 3

# Problems for which a server refuses the next login. If a host is still connected, a message warns before the
# connection ends.
_REFUSED_NEXT_TIME = {"auth-denied", "passphrase-needed", "too-many-auth-failures"}


class Finding(Struct, frozen=True):
    """One problem. `subject` is the name of a host or a VPN, or "" for the network or the configuration."""

    code: str
    subject: str
    words: str = ""
    """The text of the host's own problem."""
    hosts: tuple[str, ...] = ()


def findings(view: View, was_up: AbstractSet[str]) -> list[Finding]:
    """Return the problems, without those that another problem causes.

    A host is "lost" only if it is in `was_up`. While everything is paused, there are no problems.
    """
    if view["agent"]["paused"]:
        return []
    hosts = view["hosts"]
    found = [] if view["network"]["online"] else [Finding("offline", "")]
    if (error := summary.rejected(view)) is not None:
        found.append(Finding("configuration-rejected", "", error))
    if any(_code(host) == "captive-portal" for host in hosts):
        found.append(Finding("captive-portal", ""))
    found += [f for vpn in view["vpns"] if (f := _of_vpn(vpn)) is not None]
    found += [f for host in hosts if (f := _of_host(host, was_up)) is not None]
    return _without_waiting_for_jump_hosts([f for f in found if not any(_causes(g, f) for g in found)], hosts)


def _causes(cause: Finding, effect: Finding) -> bool:
    """Report whether `effect` depends on `cause`, and `cause` is about all hosts of `effect` or about the network."""
    same = not cause.subject or set(effect.hosts) <= set(cause.hosts)
    return same and cause.code in WARNINGS[effect.code].depends_on


def _of_vpn(vpn: Mapping[str, Any]) -> Finding | None:
    if vpn["state"] != "needs-sign-in" or not vpn["hosts"]:
        return None  # no host waits for this VPN
    # The problem's title would only repeat the message's title. The hint may contain the error of a failed sign-in.
    hint = vpn["problem"]["hint"] if vpn["problem"] else ""
    return Finding("vpn-needs-sign-in", vpn["name"], hint, tuple(vpn["hosts"]))


def _of_host(host: Mapping[str, Any], was_up: AbstractSet[str]) -> Finding | None:
    name, code, state = host["name"], _code(host), host["state"]
    if state in states.NEEDS_USER and code in WARNINGS and code != "vpn-needs-sign-in":
        return Finding(code, name, _words(host), (name,))
    if state == "connected" and code in _REFUSED_NEXT_TIME:
        return Finding("refused-next-time", name, _words(host), (name,))
    if state == "connected":
        broken = any(f["state"] == "failed" for f in host["forwards"])
        return Finding("forward-failed", name, _forward_words(host), (name,)) if broken else None
    if state in _DOWN and name in was_up:
        return Finding("lost", name, _words(host), (name,))
    return None


def _without_waiting_for_jump_hosts(
    found: list[Finding], hosts: Sequence[Mapping[str, Any]]
) -> list[Finding]:
    """Drop lost hosts that wait for a jump host, if another host has a problem that may be the cause."""
    through = {h["name"] for h in hosts if _code(h) == "jump-host-failed"}
    others = [f for f in found if f.hosts and f.subject not in through and f.code != "vpn-needs-sign-in"]
    return [f for f in found if f.subject not in through or f.code != "lost"] if others else found


def _code(host: Mapping[str, Any]) -> str:
    problem = host["problem"]
    return problem["code"] if problem else ""


def _words(subject: Mapping[str, Any]) -> str:
    problem = subject["problem"]
    return ". ".join(part for part in (problem["title"], problem["hint"]) if part) if problem else ""


def _forward_words(host: Mapping[str, Any]) -> str:
    failed = [f for f in host["forwards"] if f["state"] == "failed"]
    lines = [f"{f['spec']}: {f['error']}" if f["error"] else f["spec"] for f in failed]
    shown, left = "; ".join(lines[:_FORWARDS]), len(lines) - _FORWARDS
    if left <= 0:
        return shown
    return ngettext("{names} and {count} more", "{names} and {count} more", left).format(
        names=shown, count=left
    )
