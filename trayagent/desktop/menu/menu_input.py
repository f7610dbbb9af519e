"""The input of the menu: the view, the time, and facts that the view does not have; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from trayagent.desktop.menu.commands import Span

View = Mapping[str, Any]
Host = Mapping[str, Any]
Vpn = Mapping[str, Any]


class Failure(Struct, frozen=True):
    """Why a choice in the menu failed, and what to do about it."""

    title: str
    hint: str


class Options(Struct, frozen=True):
    """Facts that the view does not have.

    `start_at_login`: whether the agent starts at login; None if this is unknown or cannot be changed. `pause`: the
    pause that the user last chose in this menu; the view only has the time at which the pause ends. `sign_ins`: the
    VPNs to which the user can sign in from the menu, None for all. They do not include tunnels that the user starts by
    hand. `short`: the panel opens submenus inside the menu. `can_set_up`: there is no configuration yet. `brought`: the
    hosts that the user put at the top of a short menu. `failure`: the failure of the last choice, if no message could
    show it.
    """

    start_at_login: bool | None = None
    pause: Span | None = None
    sign_ins: frozenset[str] | None = None
    short: bool = False
    brought: tuple[str, ...] = ()
    can_set_up: bool = False
    failure: Failure | None = None


class Scene(Struct, frozen=True):
    """The input of each part of the menu. `sign_ins`: the VPNs that are down and offer a sign-in from the menu."""

    view: View
    now: datetime
    sign_ins: tuple[Vpn, ...]


def see(view: View, now: datetime, options: Options) -> Scene:
    """Return the input of the menu's parts for a view."""
    able = options.sign_ins
    down = [v for v in view["vpns"] if v["state"] in {"down", "needs-sign-in"}]
    return Scene(view, now, tuple(v for v in down if able is None or v["name"] in able))
