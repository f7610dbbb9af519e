"""The lines of all hosts, ordered and folded so that they fit the screen; pure.

Hosts that need the user come first. If there are few hosts, each has its own line. If there are many, all hosts in the
same group (connected, out of reach, ...) share a submenu.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from trayagent.desktop.menu import menu_texts
from trayagent.desktop.menu.host_submenu import host_item
from trayagent.desktop.menu.items import Item, submenu
from trayagent.desktop.menu.menu_input import Host, Scene
from trayagent.presentation import states
from trayagent.presentation.summary import host_needs_you, lacks
from trayagent.presentation.translation import _, to_translate

FEW = 10
"""Up to this number of hosts, each has its own line. The menu then still fits a small screen."""
PAGE = 25
"""How many lines of a submenu fit a small screen without scrolling."""
_DIGITS = re.compile(r"(\d+)")


class Group(Struct, frozen=True):
    """Hosts with the same kind of state. If there are more than `lines`, they share a submenu."""

    name: str
    title: str
    sign: str
    states: frozenset[str]
    lines: int


# The groups in the order of the menu. A host is in the first group if host_needs_you says so, in whatever state.
GROUPS = (
    Group("needs-you", to_translate("More hosts that need you"), "needs-sign-in", states.NEEDS_USER, 8),
    Group("working", to_translate("Connecting"), "connecting", states.WORKING | {"waiting"}, 6),
    Group("away", to_translate("Out of reach"), "offline", states.AWAY, 4),
    Group("connected", to_translate("Connected"), "connected", frozenset({"connected"}), 3),
    Group("paused", to_translate("Paused"), "paused", frozenset({"paused"}), 3),
    Group("idle", to_translate("Not in use"), "idle", frozenset({"idle"}), 3),
)
_GROUP_OF = {state: group for group in GROUPS for state in group.states}
_UNKNOWN_STATE = GROUPS[1]  # a state that only a newer agent knows: show it as work in progress


def host_items(scene: Scene) -> list[Item]:
    """Return the lines of all hosts."""
    grouped: dict[Group, list[Host]] = {group: [] for group in GROUPS}
    for host in scene.view["hosts"]:
        grouped[_group(host)].append(host)
    few = len(scene.view["hosts"]) <= FEW
    return [
        item
        for group, hosts in grouped.items()
        for item in (_lines(hosts, scene) if few else _folded(group, hosts, scene))
    ]


def in_order(hosts: Sequence[Host]) -> list[Host]:
    """Return the hosts in the order of the groups. In a group, hosts with failed forwards come first."""
    return sorted(hosts, key=lambda host: (GROUPS.index(_group(host)), not lacks(host), by_name(host)))


def _group(host: Host) -> Group:
    return GROUPS[0] if host_needs_you(host) else _GROUP_OF.get(host["state"], _UNKNOWN_STATE)


def _lines(hosts: Sequence[Host], scene: Scene) -> list[Item]:
    return [host_item(host, scene) for host in hosts]


def _folded(group: Group, hosts: Sequence[Host], scene: Scene) -> list[Item]:
    """Return the group's lines, or one submenu with them. The first hosts that need the user stay outside."""
    if len(hosts) <= group.lines:
        return _lines(hosts, scene)
    outside = hosts[: group.lines] if group is GROUPS[0] else ()
    inside = sorted(hosts[len(outside) :], key=by_name)
    title = f"{states.sign(group.sign)} {_(group.title)} ({len(inside)})"
    return [*_lines(outside, scene), submenu(("fold", group.name), title, _pages(group, inside, scene))]


def _pages(group: Group, hosts: Sequence[Host], scene: Scene) -> Iterator[Item]:
    """Yield the lines, or a submenu for each page, such as "db01 to web12"."""
    if len(hosts) <= PAGE:
        yield from _lines(hosts, scene)
        return
    for start in range(0, len(hosts), PAGE):
        page = hosts[start : start + PAGE]
        first, last = (menu_texts.name(host["name"], 24) for host in (page[0], page[-1]))
        title = _("{first} to {last}").format(first=first, last=last) if len(page) > 1 else first
        yield submenu(("fold", group.name, str(start // PAGE)), title, _lines(page, scene))


def by_name(host: Host) -> list[tuple[int, int, str]]:
    """Return a sort key that puts web2 before web10."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in _DIGITS.split(host["name"].casefold())
        if part
    ]
