"""Builds the whole menu from the view: headline, hosts, lines for all hosts, lines about the program; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from trayagent.core.problem_texts import vpn_problem
from trayagent.desktop.menu import menu_texts
from trayagent.desktop.menu.commands import (
    SPAN_S,
    Do,
    EditConfiguration,
    Pause,
    Quit,
    SetUp,
    ShowLog,
    ShowStatus,
    SignIn,
    Span,
    StartAtLogin,
    tomorrow,
)
from trayagent.desktop.menu.host_list import host_items
from trayagent.desktop.menu.items import Item, Menu, action, label, sections, submenu
from trayagent.desktop.menu.menu_input import Options, View, see
from trayagent.desktop.menu.short_menu import short_host_items
from trayagent.presentation import states, summary
from trayagent.presentation.text import clean
from trayagent.presentation.times import clock
from trayagent.presentation.translation import _, agent_text, to_translate

SPANS: Mapping[Span, str] = {
    "30-minutes": to_translate("For 30 minutes"),
    "1-hour": to_translate("For 1 hour"),
    "tomorrow": to_translate("Until tomorrow"),
    "until-resumed": to_translate("Until I resume"),
}
SLACK = timedelta(seconds=60)
"""The longest time between the choice of a pause and a view that shows it."""
PLAIN = Options()


def build(view: View, now: datetime, options: Options = PLAIN) -> Menu:
    """Return the menu of a view (`status --json`). `now` has a time zone."""
    scene = see(view, now, options)
    urgent = summary.vpns_to_sign_in(view)
    set_up = action(("set-up",), _("Set up from my ssh configuration…"), SetUp())
    head = [set_up] if options.can_set_up else []
    headline = menu_texts.short(summary.headline(view), menu_texts.LINE)
    # GNOME focuses the first line that can be chosen. If a change removes that line, the menu ignores the keyboard.
    head.append(
        action(("headline",), headline, ShowStatus()) if options.short else label(("headline",), headline)
    )
    head += [*_failed_choice(options), *_rejected(view)]
    for vpn in urgent:
        head += [_urgent(vpn, able=vpn in scene.sign_ins), *_failed_sign_in(vpn)]
    everything = [
        _reconnect_all(view),
        _pause(view["agent"], now, options.pause),
        *_other_sign_ins([vpn for vpn in scene.sign_ins if vpn not in urgent]),
    ]
    if options.short:
        hosts = short_host_items(scene, options.brought, len(head) - 1)
        program = [submenu(("more",), _("More"), _program(view, now, options))]
        return Menu(sections((), (head, hosts, [*everything, *program])))
    parts = (head, host_items(scene), everything, _program(view, now, options))
    return Menu(sections((), parts))


def _failed_choice(options: Options) -> Iterator[Item]:
    """Yield lines that say why the last choice failed, if no message could show that."""
    failure = options.failure
    if failure is not None:
        title = f"{states.sign('needs-sign-in')} {menu_texts.short(failure.title, menu_texts.LINE)}"
        yield label(("failure",), title)
        for number, line in enumerate(menu_texts.lines(failure.hint)):
            yield label(("failure", str(number)), line)


def _rejected(view: View) -> Iterator[Item]:
    """Yield a line to edit a configuration with a mistake, and the error. The previous configuration stays in force."""
    error = summary.rejected(view)
    if error is not None:
        text = f"{states.sign('needs-sign-in')} {_('Configuration has a mistake: edit…')}"
        yield action(("rejected",), text, EditConfiguration())
        for number, line in enumerate(menu_texts.lines(error)):
            yield label(("rejected", str(number)), line)


def _urgent(vpn: Mapping[str, Any], *, able: bool) -> Item:
    before = states.sign("needs-sign-in")
    if able:
        return _sign_in(vpn, f"{before} ")
    text = _("{vpn} wants you to sign in").format(vpn=menu_texts.name(vpn["name"]))
    return label(("vpn", vpn["name"], "waits"), f"{before} {text}")


def _failed_sign_in(vpn: Mapping[str, Any]) -> Iterator[Item]:
    """Yield lines that say why the last sign-in failed, or that its window is open. They follow the VPN's own line."""
    told = vpn["problem"]["hint"] if vpn["problem"] else ""
    if told != agent_text(vpn_problem(vpn["name"]).hint):
        for number, line in enumerate(menu_texts.lines(told)):
            yield label(("vpn", vpn["name"], "told", str(number)), line)


def _sign_in(vpn: Mapping[str, Any], before: str = "") -> Item:
    text = _("Sign in to {vpn}…").format(vpn=menu_texts.name(vpn["name"]))
    return action(("vpn", vpn["name"], "sign-in"), f"{before}{text}", SignIn(vpn["name"]))


def _other_sign_ins(vpns: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Return lines to sign in to VPNs for which no host waits."""
    if len(vpns) < 2:
        return [_sign_in(vpn) for vpn in vpns]
    return [submenu(("vpns",), _("Sign in to VPN"), [_sign_in(vpn) for vpn in vpns])]


def _reconnect_all(view: View) -> Item:
    wanted = any(host["listed"] for host in summary.wanted_hosts(view))
    return action(("reconnect-all",), _("Reconnect all"), Do("reconnect"), enabled=wanted)


def _pause(agent: Mapping[str, Any], now: datetime, asked: Span | None) -> Item:
    """Return the submenu of pauses. The current pause is marked, and "Resume" ends it."""
    paused, until = agent["paused"], agent["paused_until"]
    lasting = _lasting(until, now, asked) if paused else None
    choices = [
        Item(("pause", span), "radio", _(text), Pause(span), checked=span == lasting)
        for span, text in SPANS.items()
    ]
    end = action(("resume",), _("Resume"), Do("resume"), enabled=paused)
    shown = _("Paused") if paused else _("Pause")
    if until:
        shown = _("Paused until {time}").format(time=clock(until, now))
    return submenu(("pause",), shown, sections(("pause",), (choices, [end])))


def _lasting(until: str | None, now: datetime, asked: Span | None) -> Span | None:
    """Return which pause of the menu ends at `until`. Return None if no pause does (`pause --for 2h`)."""
    if until is None:
        return "until-resumed"
    end = datetime.fromisoformat(until)
    if asked in SPAN_S and end - now <= timedelta(seconds=SPAN_S[asked]) + SLACK:
        return asked
    return "tomorrow" if abs(end - tomorrow(now)) <= SLACK else None


def _program(view: View, now: datetime, options: Options) -> list[Item]:
    agent, on = view["agent"], options.start_at_login
    process = _("Process {pid}, running since {time}")
    about = [
        label(("about", "version"), f"trayagent {clean(agent['version'])}"),
        label(("about", "process"), process.format(pid=agent["pid"], time=clock(agent["started"], now))),
    ]
    found = [
        action(("status-page",), _("Show status page"), ShowStatus()),
        action(("configuration",), _("Edit configuration"), EditConfiguration()),
        action(("log",), _("Show log"), ShowLog()),
    ]
    if on is not None:
        command = StartAtLogin(not on)
        found.append(Item(("start-at-login",), "checkbox", _("Start at login"), command, checked=on))
    return [
        *found,
        *(about if options.short else [submenu(("about",), _("About"), about)]),
        action(("quit",), _("Quit (connections stay)"), Quit()),
    ]
