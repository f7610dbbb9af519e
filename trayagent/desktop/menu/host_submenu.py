"""One host: its line and its submenu; pure."""

from __future__ import annotations

from trayagent.desktop.menu import menu_texts
from trayagent.desktop.menu.commands import Do, LogIn, OpenTerminal, Pause, ShowWhy, SignIn
from trayagent.desktop.menu.forward_lines import forward_items
from trayagent.desktop.menu.items import Item, action, label, sections, submenu
from trayagent.desktop.menu.menu_input import Host, Scene
from trayagent.presentation import states, summary
from trayagent.presentation.beside import beside_lines
from trayagent.presentation.by_hand import unknown_lines
from trayagent.presentation.draining import draining_lines
from trayagent.presentation.host_state import state_words
from trayagent.presentation.roaming import roaming_lines
from trayagent.presentation.standby import standby_lines
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _

LOGIN_HELPS = frozenset({"auth-denied", "passphrase-needed", "host-key-unknown"})
"""Problems that a login at a terminal fixes."""


def host_item(host: Host, scene: Scene) -> Item:
    """Return the host's line. Its submenu shows the details and has all commands for the host."""
    name = host["name"]
    parts = (
        news_items(host, scene),
        [*remedy_items(host, scene), *connection_items(host, scene)],
        list(forward_items(name, host["forwards"])),
        tool_items(host),
    )
    return submenu(("host", name), host_text(host, scene), sections(("host", name), parts))


def host_text(host: Host, scene: Scene) -> str:
    """Return the text of the host's line: sign, name, state, and forwards that are not open."""
    name, state = menu_texts.name(host["name"]), state_words(host, scene.now)
    text = f"{states.sign(host['state'])} {name} · {state}"
    return f"{text} · {lacking}" if (lacking := summary.lacks(host)) else text


def news_items(host: Host, scene: Scene) -> list[Item]:
    """Return the lines that inform about the host: address, problem, sessions."""
    key, problem = ("host", host["name"]), host["problem"]
    found = []
    if host["state"] in {"connected", "paused"} and host["peer"]:
        shown = clean(host["peer"])
        if host["interface"]:
            shown = _("{address} over {interface}").format(address=shown, interface=clean(host["interface"]))
        found.append(label((*key, "peer"), shown))
    if problem is not None:
        told = [*menu_texts.lines(problem["title"]), *menu_texts.lines(problem["hint"])]
        found += [label((*key, "problem", str(n)), line) for n, line in enumerate(told)]
    for line in roaming_lines(host):
        found.append(label((*key, "roaming"), line[0].upper() + line[1:]))
    for line in standby_lines(host):
        found.append(label((*key, "standby"), line[0].upper() + line[1:]))
    for number, line in enumerate(draining_lines(host, scene.now)):
        found.append(label((*key, "draining", str(number)), line[0].upper() + line[1:]))
    for line in beside_lines(host):
        found.append(label((*key, "beside"), line))
    for number, line in enumerate(unknown_lines(host)):
        found += [
            label((*key, "unknown", str(number), str(n)), part)
            for n, part in enumerate(menu_texts.lines(line))
        ]
    return found


def remedy_items(host: Host, scene: Scene) -> list[Item]:
    """Return the lines for what this host needs and only the user can do: sign in to a VPN, or log in."""
    name, problem = host["name"], host["problem"]
    code = problem["code"] if problem is not None else None
    found = []
    if host["state"] in {"needs-vpn", "needs-sign-in"}:
        for vpn in scene.sign_ins:
            if name in vpn["hosts"]:
                text = _("Sign in to {vpn}…").format(vpn=menu_texts.name(vpn["name"]))
                found.append(action(("host", name, "sign-in", vpn["name"]), text, SignIn(vpn["name"])))
    if host["state"] == "needs-sign-in" and code in LOGIN_HELPS:
        found.append(action(("host", name, "log-in"), _("Log in…"), LogIn(name)))
    return found


def connection_items(host: Host, scene: Scene) -> list[Item]:
    """Return the lines Connect, Reconnect, Disconnect and Pause, as far as they make sense in this state."""
    name, state, all_paused = host["name"], host["state"], scene.view["agent"]["paused"]
    found = []
    if state == "idle":
        found.append(action(("host", name, "connect"), _("Connect"), Do("reconnect", (name,))))
    else:
        found.append(action(("host", name, "reconnect"), _("Reconnect"), Do("reconnect", (name,))))
        if state != "paused" or host["pid"] is not None:
            found.append(action(("host", name, "disconnect"), _("Disconnect"), Do("disconnect", (name,))))
    paused = state == "paused"
    turned = Do("resume", (name,)) if paused else Pause("until-resumed", (name,))
    # While everything is paused, the view does not say which hosts are paused individually.
    return [*found, Item(("host", name, "pause"), "checkbox", _("Pause"), turned, not all_paused, paused)]


def tool_items(host: Host) -> list[Item]:
    """Return the lines that open a window about the host."""
    name = host["name"]
    found = [action(("host", name, "terminal"), _("Open terminal"), OpenTerminal(name))]
    if host["problem"] is not None:
        found.append(action(("host", name, "why"), _("Show why"), ShowWhy(name)))
    return found
