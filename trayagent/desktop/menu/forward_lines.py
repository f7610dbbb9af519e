"""A forward in its host's submenu: its state, and its local end to open or to copy; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.forwards import Forward, ForwardKind
from trayagent.core.facts.local_end import forward_text, local_address, local_url
from trayagent.desktop.menu import menu_texts
from trayagent.desktop.menu.commands import Copy, OpenUrl
from trayagent.desktop.menu.items import Item, Key, action, label, submenu
from trayagent.presentation import states
from trayagent.presentation.by_hand import by_hand_mark
from trayagent.presentation.forward_side import with_side
from trayagent.presentation.translation import _

MOST = 12
"""The most forwards in a host's submenu. With more lines, Reconnect would not fit a small screen."""
PAGE = 25
"""How many lines of a submenu fit a small screen without scrolling."""


def forward_items(host: str, given: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    """Yield the lines of a host's forwards, failed ones first. All after the first `MOST` are in submenus."""
    ordered = failed_first(given)
    for forward in ordered[:MOST]:
        yield forward_item(host, forward)
    rest = ordered[MOST:]
    for start in range(0, len(rest), PAGE):
        page = rest[start : start + PAGE]
        key = ("host", host, "more-forwards", str(start // PAGE))
        title = _("More forwards ({count})").format(count=len(page))
        yield submenu(key, title, [forward_item(host, forward) for forward in page])


def failed_first(given: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the forwards with the failed ones first, otherwise in their order."""
    return sorted(given, key=lambda forward: bool(forward["state"] != "failed"))


def forward_item(host: str, given: Mapping[str, Any]) -> Item:
    """Return a forward's line. If its local end is open, a submenu offers to open or copy it."""
    key = ("host", host, "forward", given["kind"], given["spec"])
    forward = _parsed(given["kind"], given["spec"])
    text = f"{states.sign(given['state'])} {_text(forward, given)}{by_hand_mark(given)}"
    if given["state"] == "failed" and given["error"]:
        return label(key, f"{text}: {_reason(given['error'])}")
    children = tuple(_local_end(key, forward)) if forward and given["state"] == "open" else ()
    return submenu(key, text, children) if children else label(key, text)


def forward_action(host: str, given: Mapping[str, Any]) -> Item:
    """Return a forward's line that opens or copies its local end itself, without a submenu."""
    item = forward_item(host, given)
    first = next(iter(item.children), None)
    if first is None or first.command is None:
        return item
    return action(item.key, item.label, first.command)


@lru_cache(maxsize=1024)  # parsing the specs takes half of the time to build a menu
def _parsed(kind: ForwardKind, spec: str) -> Forward | None:
    try:
        return parse(kind, spec)
    except (ValueError, KeyError):
        return None


def _text(forward: Forward | None, given: Mapping[str, Any]) -> str:
    if forward is None:
        return menu_texts.short(f"{given['kind']} {given['spec']}")
    return menu_texts.short(with_side(forward.kind, forward_text(forward)), menu_texts.LINE)


def _reason(error: Any) -> str:
    """Return the text of a forward's error, which may be a problem or a plain string."""
    return menu_texts.short(str(error["title"] if isinstance(error, Mapping) else error), menu_texts.LINE)


def _local_end(key: Key, forward: Forward) -> Iterator[Item]:
    """Yield lines that open or copy the local end. A remote forward has no local end on this machine."""
    if (url := local_url(forward)) is not None:
        yield action((*key, "open"), _("Open {url}").format(url=url), OpenUrl(url))
    if (address := local_address(forward)) is not None:
        yield _copy(key, address)


def _copy(key: Key, text: str) -> Item:
    shown = _("Copy {address}").format(address=menu_texts.short(text, menu_texts.LINE))
    return action((*key, "copy"), shown, Copy(text))
