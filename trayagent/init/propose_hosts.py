"""Decide which hosts to keep connected, and with which forwards; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Literal

from msgspec import Struct, field

from trayagent.core.facts.forwards import End, Forward, ForwardKind
from trayagent.init.found_on_machine import Found, Skipped
from trayagent.init.interpret_ssh_call import Meaning
from trayagent.ssh.command_line import Call

Wish = Literal["always", "on-use", "leave"]
Session = Literal["tmux", "screen"]

_ORDER: tuple[ForwardKind, ...] = ("local", "remote", "dynamic")
SSH_CONFIG = "forwards in ssh_config"
"""The source of a host that was found only by its forwards in ssh_config."""
_STRENGTH: dict[Wish, int] = {"always": 2, "on-use": 1, "leave": 0}


class Understood(Struct, frozen=True):
    """A finding, its call of ssh (None: only a name is known), and the host that it means."""

    found: Found
    call: Call | None
    meaning: Meaning


class HostProposal(Struct, frozen=True):
    """The proposal for one host: `wish` ("leave": do not list it), and `because`, where the host was found.

    `forwards` go into the configuration, `given` are the forwards in ssh_config. ssh does not know the name until the
    user adds `lines` to ssh_config. `more` are options of the calls that the host in ssh_config lacks. `clash` is the
    reason if the host is left out because of its forwards in ssh_config.
    """

    name: str
    wish: Wish
    because: tuple[str, ...]
    forwards: tuple[Forward, ...] = ()
    given: tuple[Forward, ...] = ()
    lines: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    session: Session | None = None
    clash: str = ""
    also: tuple[str, ...] = ()

    @property
    def listed(self) -> bool:
        """Whether the host goes into the configuration."""
        return self.wish != "leave"


class _Gathering(Struct):
    """The facts about one host, collected so far."""

    wish: Wish = "leave"
    because: dict[str, None] = field(default_factory=dict)
    forwards: list[Forward] = field(default_factory=list)
    given: tuple[Forward, ...] = ()
    lines: tuple[str, ...] = ()
    more: dict[str, None] = field(default_factory=dict)
    session: Session | None = None
    clash: str = ""
    leads_to: tuple[str, ...] = ()
    server: str = ""
    shares: tuple[object, ...] = ()
    also: list[str] = field(default_factory=list)


def propose(understood: Iterable[Understood]) -> tuple[list[HostProposal], list[Skipped]]:
    """Return the proposals, the wanted ones first, and the findings that could not be included."""
    gathered: dict[str, _Gathering] = {}
    skipped: list[Skipped] = []
    # Start with the most certain findings. If two forwards want the same port, the first one gets the port.
    for one in sorted(understood, key=lambda one: -_STRENGTH[_wish(one)]):
        host = gathered.setdefault(one.meaning.name, _Gathering())
        wish = _wish(one)
        if wish == "leave" and host.wish != "leave":
            skipped.append(
                Skipped(one.found.where, f"nothing starts it, so it is not used for {one.meaning.name}")
            )
            continue
        host.wish = max(host.wish, wish, key=_STRENGTH.__getitem__)
        host.because[one.found.where] = None
        host.given = one.meaning.given
        host.lines = one.meaning.lines
        host.leads_to = one.meaning.leads_to
        host.server = one.meaning.server
        host.shares = one.meaning.shares
        host.more |= dict.fromkeys(one.meaning.more)
        host.session = host.session or session_of(one.call)
        for forward in one.meaning.forwards:
            if (why := _clash(forward, one.meaning.name, gathered)) is not None:
                skipped.append(Skipped(f"{option(forward)} ({one.found.where})", why))
            elif forward not in host.forwards:
                host.forwards.append(forward)
    _join_names(gathered)
    skipped += _leave_shared_ports(gathered)
    _join_connections(gathered)
    proposals = [_proposal(name, host) for name, host in gathered.items()]
    return sorted(proposals, key=lambda p: -_STRENGTH[p.wish]), list(dict.fromkeys(skipped))


def _proposal(name: str, host: _Gathering) -> HostProposal:
    forwards = sorted(host.forwards, key=lambda forward: _ORDER.index(forward.kind))
    return HostProposal(
        name, host.wish, tuple(host.because), tuple(forwards), host.given, host.lines, tuple(host.more),
        host.session, host.clash, tuple(host.also),
    )  # fmt: skip


def _wish(one: Understood) -> Wish:
    if not one.found.active:
        return "leave"
    if one.found.kind in ("master", "ssh_config"):
        return (
            "on-use"  # nothing shows that the user always wants the host: it would be connected by surprise
        )
    if one.found.by_hand and (one.call is None or one.call.program != "autossh" or session_of(one.call)):
        return "on-use"
    return "always"


def session_of(call: Call | None) -> Session | None:
    """Return tmux or screen if the call runs it, as in `autossh -t HOST tmux attach`, or None."""
    for word in call.command if call is not None else ():
        for program in word.split():
            if PurePath(program).name == "tmux":
                return "tmux"
            if PurePath(program).name == "screen":
                return "screen"
    return None


def _clash(forward: Forward, name: str, gathered: dict[str, _Gathering]) -> str | None:
    """Return why a forward is impossible (another forward listens on the same address), or None."""
    if not _fixed(forward):
        return None  # port 0: the server chooses a port for each of these forwards
    here = _place(forward, name, gathered[name])
    for other_name, other in gathered.items():
        for heard in (*other.forwards, *other.given):
            if _place(heard, other_name, other) == here and not (other_name == name and heard == forward):
                return f"{option(heard)} of {other_name} already listens there; give one of them another port"
    return None


def _place(forward: Forward, name: str, host: _Gathering) -> tuple[str, End]:
    """Return where a forward listens: the machine, "" for this one, and the address on it."""
    return (host.server or name) if forward.kind == "remote" else "", forward.listen


def _join_names(gathered: dict[str, _Gathering]) -> None:
    """Remove a host that is another name for an earlier one, such as login1 in `Host cluster login1`.

    It is known only by forwards of ssh_config, and the earlier host has all of them.
    """
    kept: dict[tuple[str, ...], _Gathering] = {}
    for name, host in list(gathered.items()):
        first = kept.setdefault(host.leads_to, host) if host.leads_to and host.wish != "leave" else host
        if first is not host and [*host.because] == [SSH_CONFIG] and {*host.given} <= {*first.given}:
            first.also.append(name)
            del gathered[name]


def _leave_shared_ports(gathered: dict[str, _Gathering]) -> Iterator[Skipped]:
    """Yield the forwards of ssh_config that listen where an earlier host already listens.

    A host that is known only by such forwards is left out. Two names of one connection have the same forward once.
    """
    taken: dict[tuple[str, End], tuple[str, Forward]] = {}
    for name, host in gathered.items():
        if host.wish == "leave":
            continue
        here = {_place(f, name, host): f for f in (*host.given, *host.forwards) if _fixed(f)}
        clashes = [
            (f, first)
            for place, f in here.items()
            for first, same in [taken.get(place, ("", f))]
            if first and not (f == same and host.shares and host.shares == gathered[first].shares)
        ]
        for forward, first in clashes:
            why = (
                f"{first} has the same port or socket, and only one of them can listen there; "
                "change it in ssh_config"
            )
            yield Skipped(f"{option(forward)} ({name})", why)
        if clashes and [*host.because] == [SSH_CONFIG]:
            why = f"{clashes[0][1]} has the same port or socket"
            host.wish, host.clash = "leave", why
            continue
        for place, forward in here.items():
            taken.setdefault(place, (name, forward))


def _join_connections(gathered: dict[str, _Gathering]) -> None:
    """List one of the names that share a connection, with the forwards of all of them.

    Only one master can listen on their control path, so the agent would show the forwards of one name at the others.
    """
    kept: dict[tuple[object, ...], _Gathering] = {}
    for name, host in list(gathered.items()):
        first = kept.setdefault(host.shares, host) if host.shares and host.wish != "leave" else host
        if first is host:
            continue
        taken = {_place(f, name, first) for f in (*first.given, *first.forwards) if _fixed(f)}
        moved = (f for f in (*host.given, *host.forwards) if f not in first.given and f not in first.forwards)
        first.forwards += [f for f in moved if _place(f, name, host) not in taken]
        first.wish = max(first.wish, host.wish, key=_STRENGTH.__getitem__)
        first.because |= host.because
        first.more |= host.more
        first.session = first.session or host.session
        first.also += [name, *host.also]
        del gathered[name]


def _fixed(forward: Forward) -> bool:
    """Report whether the port is known in advance. Port 0 means that the server chooses one."""
    return forward.listen.path is not None or forward.listen.port != 0


def option(forward: Forward) -> str:
    """Return a forward as an option of ssh's command line."""
    return f"-{forward.kind[0].upper()} {forward.spec}"
