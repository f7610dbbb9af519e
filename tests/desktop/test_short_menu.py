"""The short menu, for panels that unfold submenus in place and in which lines beyond the screen cannot be reached."""

from __future__ import annotations

from typing import Any

import pytest

from tests.desktop.test_menu import (
    NOW,
    at,
    drawn,
    forward,
    host,
    in_berlin,  # noqa: F401  # imported as a fixture
    problem,
    view,
    vpn,
)
from trayagent.desktop import menu
from trayagent.desktop.menu.commands import (
    Bring,
    Copy,
    Do,
    EditConfiguration,
    LogIn,
    OpenUrl,
    Pause,
    Quit,
    ShowStatus,
)
from trayagent.desktop.menu.items import Menu

FIT = 18
"""The number of lines that fit into 768 pixels, without the panel and the separators, in GNOME's usual font."""


def short(given: dict[str, Any], *brought: str, **options: Any) -> Menu:
    """Return the menu for a panel that unfolds submenus."""
    return menu.build(given, NOW, menu.Options(short=True, brought=brought, start_at_login=True, **options))


def hosts_in_root(whole: Menu) -> list[str]:
    """Return the names of the hosts with a line in the root."""
    return [item.key[1] for item in whole.items if item.key[0] == "host"]


def rows(whole: Menu) -> int:
    """Return the lines of the menu with its longest submenu open."""
    root = [item for item in whole.items if item.kind != "separator"]
    return len(root) + max(len(item.children) for item in root)


def needy(count: int) -> dict[str, Any]:
    """Return a view whose hosts have everything that makes a menu long."""
    told = problem("auth-denied", "The server refuses every key of this machine", "Log in once, or " * 12)
    forwards = [
        forward("local", f"{8000 + n}:localhost:80", "failed" if n % 3 else "open") for n in range(40)
    ]
    states = ["needs-sign-in", "connected", "waiting", "offline"]
    hosts = [
        host(
            f"web{n}",
            states[n % 4],
            problem=None if states[n % 4] == "connected" else told,
            forwards=forwards,
        )
        for n in range(count)
    ]
    return view(*hosts, vpns=[vpn("corp", "needs-sign-in", "web1"), vpn("lab", "down", "web2")])


@pytest.mark.parametrize("count", [0, 1, 4, 5, 9, 60, 500])
def test_the_menu_fits_a_small_screen(count: int) -> None:
    """At most four hosts are in the root, no submenu has its own submenu, and the longest submenu fits."""
    whole = short(needy(count))
    assert len(hosts_in_root(whole)) == min(count, 3)  # a VPN that needs a sign-in takes one line
    assert all(not child.children for item in whole.items for child in item.children)
    assert rows(whole) <= FIT
    calm = short(view(*[host(f"h{n}") for n in range(count)]))
    assert len(hosts_in_root(calm)) == min(count, 4)
    assert rows(calm) <= FIT


def test_the_first_line_can_be_chosen_and_stays() -> None:
    """The first line opens the status page, and is the same line for any hosts.

    GNOME focuses the first line when the menu opens, and then replaces the lines that changed. If the focused line were
    among them, the menu would ignore the keyboard.
    """
    for whole in (short(view()), short(view(host("a"))), short(needy(9)), short(needy(9), "web3")):
        assert (whole.items[0].key, whole.items[0].command) == (("headline",), ShowStatus())


def test_what_can_be_done_comes_before_what_can_be_read() -> None:
    """Reconnect, Disconnect and Pause come first, because the last lines may be below the screen."""
    whole = short(needy(9))
    first = [child.label for child in at(whole, "host", "web0").children]
    assert first[:6] == ["Log in…", "Reconnect", "Disconnect", "Pause", "Open terminal", "Show why"]
    assert at(whole, "host", "web0").children[0].command == LogIn("web0")
    assert first[-1] == "40 forwards…"
    assert [child.label for child in at(whole, "host", "web4").children][-1] == "40 forwards…"
    connected = short(view(host("web", forwards=[forward("dynamic", str(n)) for n in range(40)])))
    assert at(connected, "host", "web").children[-1].label == "37 more forwards…"
    assert at(connected, "host", "web").children[-1].command == ShowStatus()


def test_the_whole_short_menu_reads_as_it_should() -> None:
    """The program's entries are in one submenu, and a forward's own line opens or copies the forward."""
    forwards = [
        forward("local", "8080:localhost:80"),
        forward("dynamic", "1080"),
        forward("remote", "2222:localhost:22"),
    ]
    whole = short(view(host("web01", forwards=forwards), *[host(f"h{n}") for n in range(5)]))
    assert drawn(whole.items) == [
        "6 of 6 connected · wlan0",
        "---",
        *[
            line
            for n in range(4)
            for line in (
                f"● h{n} · connected since 14:02 ▸",
                "    Reconnect",
                "    Disconnect",
                "    ☐ Pause",
                "    Open terminal",
            )
        ],
        "2 more hosts ▸",
        "    ● h4 · connected since 14:02",
        "    ● web01 · connected since 14:02",
        "---",
        "Reconnect all",
        "Pause ▸",
        "    ○ For 30 minutes",
        "    ○ For 1 hour",
        "    ○ Until tomorrow",
        "    ○ Until I resume",
        "    ---",
        "    Resume (grey)",
        "More ▸",
        "    Show status page",
        "    Edit configuration",
        "    Show log",
        "    ☑ Start at login",
        "    trayagent 0.1.0",
        "    Process 4000, running since 09:00",
        "    Quit (connections stay)",
    ]
    assert whole.command(("quit",)) == Quit()
    assert whole.command(("configuration",)) == EditConfiguration()
    brought = short(view(host("web01", forwards=forwards)))
    key = ("host", "web01", "forward")
    assert brought.command((*key, "local", "8080:localhost:80")) == OpenUrl("http://localhost:8080")
    assert brought.command((*key, "dynamic", "1080")) == Copy("socks5h://localhost:1080")
    assert brought.command((*key, "remote", "2222:localhost:22")) is None
    assert brought.command(("host", "web01", "pause")) == Pause("until-resumed", ("web01",))


def test_a_host_of_many_is_reached_by_two_choices() -> None:
    """Choosing a range moves its hosts to the top, and choosing a name moves that host. Another line undoes this."""
    given = view(*[host(f"web{n:02}") for n in range(60)])
    for wanted in (f"web{n:02}" for n in range(60)):
        whole, choices = short(given), 0
        while wanted not in hosts_in_root(whole):
            offers = [child.command for child in at(whole, "more-hosts").children]
            ranges = [c for c in offers if isinstance(c, Bring) and wanted in c.hosts]
            assert len(ranges) == 1, (wanted, offers)
            whole, choices = short(given, *ranges[0].hosts), choices + 1
        assert choices <= 2
        assert whole.command(("host", wanted, "reconnect")) == Do("reconnect", (wanted,))
        if choices:
            assert whole.command(("bring",)) == Bring(())


def test_a_host_with_a_failed_forward_is_in_the_root() -> None:
    """A host with a failed forward comes after hosts that need the user or are away, and before healthy hosts."""
    broken = host("z", forwards=[forward("local", "80:x:80", "failed")])
    whole = short(view(*[host(f"h{n}") for n in range(9)], broken, host("y", "failed"), host("x", "waiting")))
    assert hosts_in_root(whole) == ["y", "x", "z", "h0"]


def test_a_host_that_is_gone_is_not_missed() -> None:
    """If a host that was moved to the top is removed from the configuration, the usual order returns."""
    given = view(*[host(f"h{n}") for n in range(9)])
    assert hosts_in_root(short(given, "gone")) == hosts_in_root(short(given))
