"""What a menu is made from: the view, the moment, and what the view does not tell; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trayagent.desktop.menu.commands import Span

View = Mapping[str, Any]
Host = Mapping[str, Any]
Vpn = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """What the view does not tell.

    `start_at_login` None: it cannot be told or changed here. `pause`: the pause that was last
    chosen in this menu, for the view has only its end. `sign_ins`: the VPNs that one can sign in
    to from here, None for all; a tunnel that somebody starts by hand has no such way.
    """

    start_at_login: bool | None = None
    pause: Span | None = None
    sign_ins: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """`sign_ins` are the VPNs that are not up and that one can sign in to."""

    view: View
    now: datetime
    sign_ins: tuple[Vpn, ...]


def see(view: View, now: datetime, options: Options) -> Scene:
    """Return what the menu's parts need."""
    able = options.sign_ins
    down = [v for v in view["vpns"] if v["state"] in {"down", "needs-sign-in"}]
    return Scene(view, now, tuple(v for v in down if able is None or v["name"] in able))
