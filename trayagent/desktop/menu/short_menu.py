"""The menu for panels that open submenus inside the menu, as GNOME's extension AppIndicator does; pure.

On these panels, the user cannot reach a line that does not fit the screen. On 1366 x 768 pixels about 18 lines fit. So
the top level has at most four hosts, one entry for all other hosts, and one for the program. A submenu has at most
`LINES` lines, and lines with a command come first. No submenu contains another submenu.

A host in the entry "more hosts" has no submenu. When the user chooses such a host, it moves to the top of the menu, and
stays there until the user chooses another. Many hosts are divided into ranges of names. When the user chooses a range,
its hosts move to the top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from trayagent.desktop.menu import menu_texts
from trayagent.desktop.menu.commands import Bring, ShowStatus
from trayagent.desktop.menu.forward_lines import failed_first, forward_action
from trayagent.desktop.menu.host_list import by_name, in_order
from trayagent.desktop.menu.host_submenu import (
    connection_items,
    host_text,
    news_items,
    remedy_items,
    tool_items,
)
from trayagent.desktop.menu.items import Item, action, submenu
from trayagent.desktop.menu.menu_input import Host, Scene
from trayagent.presentation.translation import _, ngettext

HOSTS = 4
FEWEST_HOSTS = 2
"""How many hosts the top level shows even if many lines are above them."""
LINES = 8
FORWARDS = 4
"""How many lines of a host's submenu are for forwards if the problem needs many lines, too."""


def short_host_items(scene: Scene, brought: Sequence[str], lines_above: int) -> list[Item]:
    """Return the lines of the hosts: those in `brought` first, then those that need the user, then the others.

    `lines_above` is how many lines the head of the menu has in addition to its headline.
    """
    ordered = in_order(scene.view["hosts"])
    chosen = [host for host in ordered if host["name"] in brought]
    others = [host for host in ordered if host["name"] not in brought]
    room = max(FEWEST_HOSTS, HOSTS - lines_above)
    shown = (chosen + others)[:room]
    found = [_host(host, scene) for host in shown]
    if len(shown) < len(ordered):
        left = chosen[room:] or (chosen + others)[room:]
        found.append(_more(left, scene, back_to=len(ordered) if chosen else None))
    return found


def _host(host: Host, scene: Scene) -> Item:
    """Return a host's line. In its submenu, lines with a command come first: the last lines may not fit the screen."""
    name = host["name"]
    does = [*remedy_items(host, scene), *connection_items(host, scene), *tool_items(host)]
    news = [item for item in news_items(host, scene) if item.key[2:] != ("peer",)]
    forwards = failed_first(host["forwards"])
    room = max(0, LINES - len(does))
    told = news[: max(room - min(len(forwards), FORWARDS), 1)]
    room -= len(told)
    lines = [*does, *told]
    if len(forwards) > room > 0:
        lines += [forward_action(name, forward) for forward in forwards[: room - 1]]
        lines.append(_more_forwards(name, room - 1, len(forwards)))
    else:
        lines += [forward_action(name, forward) for forward in forwards[:room]]
    return submenu(("host", name), host_text(host, scene), lines)


def _more_forwards(host: str, shown: int, count: int) -> Item:
    """Return one line for all forwards without a line of their own. It opens the status page, which lists all."""
    left = count - shown
    text = ngettext("{count} more forward…", "{count} more forwards…", left)
    if not shown:
        text = ngettext("{count} forward…", "{count} forwards…", left)
    text = text.format(count=left)
    return action(("host", host, "more-forwards"), text, ShowStatus())


def _more(left: Sequence[Host], scene: Scene, back_to: int | None) -> Item:
    """Return the entry for the hosts in `left`.

    `back_to` is the number of all hosts if the user put some at the top, otherwise None.
    """
    lines = list(_choices(left, scene, LINES - (back_to is not None)))
    if back_to is not None:
        back = ngettext("Back to the host", "Back to all {count} hosts", back_to).format(count=back_to)
        lines.append(action(("bring",), back, Bring(())))
    title = ngettext("{count} more host", "{count} more hosts", len(left)).format(count=len(left))
    return submenu(("more-hosts",), title, lines)


def _choices(hosts: Sequence[Host], scene: Scene, most: int) -> Iterator[Item]:
    """Yield a line for each host, or for each range of hosts if there are too many."""
    if len(hosts) <= most:
        for host in hosts:
            yield action(("bring", host["name"]), host_text(host, scene), Bring((host["name"],)))
        return
    sorted_hosts = iter(sorted(hosts, key=by_name))
    size = -(-len(hosts) // most)
    while names := [host["name"] for host in islice(sorted_hosts, size)]:
        first, last = menu_texts.name(names[0], 24), menu_texts.name(names[-1], 24)
        title = _("{first} to {last}").format(first=first, last=last) if first != last else first
        yield action(("bring", names[0], names[-1]), title, Bring(tuple(names)))
