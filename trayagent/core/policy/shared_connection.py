"""Two names of one account with one ControlPath: the second one uses the connection of the first; pure.

Only one of them, the *owner*, judges, replaces and roams. The other one follows its owner's facts. Otherwise both would
probe the same master and log in beside it, and each would replace the other's new master.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from trayagent.core.facts.evidence import Evidence
from trayagent.core.facts.host_table import once
from trayagent.core.facts.hosts import Host
from trayagent.core.facts.masters import Master
from trayagent.core.policy.shared_control_path import same_account

if TYPE_CHECKING:
    from trayagent.core.decision_context import Context
    from trayagent.core.facts.state import State

_OTHER_ANSWER_S = 2.0
"""The answer of `ssh -G` for the other name may come this much later. An edit of `Host *` changes both."""


def owner_of_connection(host: Host, hosts: Mapping[str, Host]) -> Host | None:
    """Return the other host whose connection this host uses, None if its connection is its own."""
    if host.master is None or host.roaming is not None or host.draining is not None:
        return None
    name = once(hosts, _owner_name, host.name, of=("master", "resolved", "roaming"))
    return hosts.get(name) if name is not None else None


def users_of_connection(pid: int, hosts: Mapping[str, Host]) -> tuple[Host, ...]:
    """Return the hosts whose forwards this master has: its owner, and those that use the owner's connection."""
    every = (host for host in hosts.values() if host.draining is None)
    return tuple(h for h in every if (m := h.forwarding_master) is not None and m.pid == pid)


def judging_owner(host: Host, state: State, now: float) -> Host | None:
    """Return the owner of the host's connection if that owner judges it.

    Only the owner of an inner master can judge it, so the host waits even for an owner that is paused.
    """
    owner = owner_of_connection(host, state.hosts)
    if owner is None or owner.roaming is not None:
        return owner
    if host.by_user or owner.wish.connect == "never" or state.paused(owner, now):
        return None
    return owner


def follow_owner(context: Context, host: Host, owner: Host) -> Host:
    """Take over what is known of the connection from its owner, and return the host."""
    doubt = replace(owner.doubt, probe=None, observed=None)
    if (host.doubt, host.path, host.network) == (doubt, owner.path, owner.network):
        return host
    return context.put(host, doubt=doubt, path=owner.path, network=owner.network, lost=False)


def moves_away_at(host: Host, owner: Host) -> float | None:
    """Return when a host needs its own connection, because only its own ControlPath was changed. None: it does not."""
    if host.master is None or host.resolved is None or owner.resolved is None:
        return None
    own = host.resolved.control_path
    if own is None or own in {host.master.control_path, owner.resolved.control_path}:
        return None
    return host.answer.begun_at + _OTHER_ANSWER_S


def leave(context: Context, host: Host, owner: Host) -> None:
    """Leave the connection to its owner. The host gets a connection of its own, with its forwards."""
    pid = host.master.pid if host.master is not None else None
    context.because(host.name, 0, "leaves", Evidence.of(pid=pid, owner=owner.name))
    host = context.put(host, lost=host.wish.connect != "never")
    let_go(context, host, owner)


def let_go(context: Context, host: Host, other: Host) -> Host:
    """Leave the host's connection to another name that uses it, without the host's forwards. Return the host."""
    states = tuple(replace(f, state="closed", error=None) for f in host.forwards.states)
    forwards = replace(host.forwards.rest(), states=states, unknown=())
    context.put(other, forwards=other.forwards.request())  # closes those of the host
    return context.put(host, master=None, path=None, forwards=forwards)


def other_user(host: Host, hosts: Mapping[str, Host]) -> Host | None:
    """Return another name that uses the connection of a host that does not roam, None if the host uses it alone.

    An owner that roams ends its inner master itself, in an orderly way.
    """
    if host.master is None or host.roaming is not None or host.draining is not None or host.unnamed:
        return None
    users = users_of_connection(host.master.pid, hosts)
    others = (user for user in users if user.name != host.name)
    return next((user for user in others if user.roaming is not None or not user.ending), None)


def as_guest(master: Master, host: Host, hosts: Mapping[str, Host]) -> Master:
    """Return a host's new master. If it is the inner master of another host, only that host can judge it."""
    inner = once(hosts, _inners, of=("roaming",)).get(master.pid)
    return replace(master, relayed=True) if inner not in {None, host.name} else master


def _inners(hosts: Mapping[str, Host]) -> Mapping[int, str]:
    return {host.roaming.inner.pid: host.name for host in hosts.values() if host.roaming is not None}


def owner_of_path(host: Host, hosts: Mapping[str, Host], path: str) -> Host | None:
    """Return the other name of the host's account whose inner master has this control path, None if there is none."""
    others = (
        h for h in hosts.values() if h.name != host.name and h.draining is None and same_account(h, host)
    )
    roams = ((h, h.roaming) for h in others)
    found = (h for h, r in roams if r is not None and not r.ending and r.inner.control_path == path)
    return next(found, None)


def _owner_name(hosts: Mapping[str, Host], name: str) -> str | None:
    return once(hosts, _owners, of=("master", "resolved", "roaming")).get(name)


def _owners(hosts: Mapping[str, Host]) -> Mapping[str, str]:
    """Return the owner's name of each host that uses another host's connection."""
    users: dict[int, list[Host]] = {}
    for host in hosts.values():
        if host.draining is None and not host.unnamed:
            for master in host.masters:
                users.setdefault(master.pid, []).append(host)
    owners: dict[str, str] = {}
    for pid, sharing in users.items():
        if len(sharing) > 1:
            owner = min(sharing, key=lambda host: _rank(host, pid))
            guests = (h for h in sharing if h is not owner and h.roaming is None and same_account(h, owner))
            owners |= {guest.name: owner.name for guest in guests}
    return owners


def _rank(host: Host, pid: int) -> tuple[bool, bool, bool]:
    """Return a key that is smallest for the owner: it roams, has the master's path, or is the name it was made for."""
    master: Master = next(master for master in host.masters if master.pid == pid)
    path = host.resolved.control_path if host.resolved is not None else None
    return host.roaming is None, path not in {None, master.control_path}, not master.started_by_agent
