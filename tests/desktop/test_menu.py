from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trayagent.core.problem_texts import vpn_problem
from trayagent.desktop import menu
from trayagent.desktop.menu import commands
from trayagent.desktop.menu.commands import (
    Command,
    Copy,
    Do,
    EditConfiguration,
    LogIn,
    OpenTerminal,
    OpenUrl,
    Pause,
    Quit,
    SetUp,
    ShowLog,
    ShowStatus,
    ShowWhy,
    SignIn,
    Span,
    StartAtLogin,
)
from trayagent.desktop.menu.items import Item, Key, Menu
from trayagent.desktop.tray import dbusmenu_layout
from trayagent.presentation.text import left_to_right

NOW = datetime(2026, 1, 1, 14, 30, tzinfo=UTC)  # 15:30 in Berlin
GENEROUS_S = 0.2
"""Ten times the promised time, because other tests run on the machine."""


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set a time zone other than UTC."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def host(name: str, state: str = "connected", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "listed": True,
        "state": state,
        "since": "2026-01-01T13:02:00Z",
        "pid": 4242 if state == "connected" else None,
        "control_path": None,
        "local": None,
        "peer": "203.0.113.10:22" if state == "connected" else None,
        "interface": "wlan0",
        "forwards": [],
        "attempt": 0,
        "next_retry": None,
        "problem": None,
        "recoveries": 0,
        "last_recovery_ms": None,
    } | more


def problem(code: str, title: str = "It is wrong", hint: str = "Do this") -> dict[str, str]:
    return {"code": code, "title": title, "hint": hint}


def forward(kind: str, spec: str, state: str = "open", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "spec": spec, "state": state, "listen": None, "error": None} | more


def vpn(name: str, state: str, *hosts: str) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "interface": None,
        "since": None,
        "hosts": [*hosts],
        "problem": None,
    }


def view(*hosts: dict[str, Any], **more: Any) -> dict[str, Any]:
    default = {"interface": "wlan0", "address": "192.168.10.2", "gateway": "192.168.10.1"}
    agent = {
        "version": "0.1.0",
        "pid": 4000,
        "started": "2026-01-01T08:00:00Z",
        "paused": False,
        "paused_until": None,
    }
    return {
        "schema": 1,
        "agent": agent | more.pop("agent", {}),
        "network": {"online": True, "name": None, "default": default, "interfaces": []},
        "vpns": [],
        "hosts": [*hosts],
    } | more


def built(given: dict[str, Any], **options: Any) -> Menu:
    return menu.build(given, NOW, menu.Options(**options))


def at(whole: Menu, *key: str) -> Item:
    """Return the only line with this key."""
    [item] = [item for item in whole.walk() if item.key == key]
    return item


def keys(whole: Menu) -> set[Key]:
    return {item.key for item in whole.walk()}


def drawn(items: tuple[Item, ...], indent: str = "") -> list[str]:
    """Return the lines as the user sees them with every submenu open."""
    seen = []
    for item in items:
        mark = {"checkbox": "☐☑", "radio": "○◉"}.get(item.kind, "  ")[item.checked].strip()
        end = "" if item.enabled or item.kind == "label" else " (grey)"
        arrow = " ▸" if item.kind == "submenu" else ""
        text = "---" if item.kind == "separator" else f"{mark} {item.label}".strip() + arrow + end
        seen += [indent + text, *drawn(item.children, indent + "    ")]
    return seen


def test_the_whole_menu_reads_as_it_should() -> None:
    """The order is: headline, VPN and hosts that need you, other hosts, actions for all hosts, the program."""
    web = host(
        "web01",
        forwards=[
            forward("local", "8080:localhost:80"),
            forward("remote", "22221:localhost:22", "failed", error="port 22221 is taken on the server"),
            forward("dynamic", "1080"),
        ],
    )
    changed = problem(
        "host-key-changed",
        "db shows another host key",
        "Compare it with db's own, then: trayagent reconnect db",
    )
    refused = problem("refused", "nas refuses the connection", "")
    failing = {"failing_since": "2026-01-01T14:26:00Z", "next_retry": "2026-01-01T14:31:30Z"}
    nas = host("nas", "waiting", since=None, problem=refused, **failing)
    given = view(web, nas, host("db", "failed", problem=changed), vpns=[vpn("corp", "needs-sign-in", "db")])
    assert drawn(built(given, start_at_login=True).items) == [
        "1 of 3 connected · a forward is not open · wlan0",
        "▲ Sign in to corp…",
        "---",
        "✗ db · failed since 14:02 ▸",
        "    db shows another host key",
        "    Compare it with db's own, then: trayagent reconnect db",
        "    ---",
        "    Reconnect",
        "    Disconnect",
        "    ☐ Pause",
        "    ---",
        "    Open terminal",
        "    Show why",
        "↻ nas · connection refused since 15:26, next try 15:31:30 ▸",
        "    nas refuses the connection",
        "    ---",
        "    Reconnect",
        "    Disconnect",
        "    ☐ Pause",
        "    ---",
        "    Open terminal",
        "    Show why",
        "● web01 · connected since 14:02 · a forward is not open ▸",
        "    203.0.113.10:22 over wlan0",
        "    ---",
        "    Reconnect",
        "    Disconnect",
        "    ☐ Pause",
        "    ---",
        "    ✗ on the server: 22221 → localhost:22: port 22221 is taken on the server",
        "    ● 8080 → localhost:80 ▸",
        "        Open http://localhost:8080",
        "        Copy localhost:8080",
        "    ● SOCKS 1080 ▸",
        "        Copy socks5h://localhost:1080",
        "    ---",
        "    Open terminal",
        "---",
        "Reconnect all",
        "Pause ▸",
        "    ○ For 30 minutes",
        "    ○ For 1 hour",
        "    ○ Until tomorrow",
        "    ○ Until I resume",
        "    ---",
        "    Resume (grey)",
        "---",
        "Show status page",
        "Edit configuration",
        "Show log",
        "☑ Start at login",
        "About ▸",
        "    trayagent 0.1.0",
        "    Process 4000, running since 09:00",
        "Quit (connections stay)",
    ]


@pytest.mark.parametrize(
    ("key", "command"),
    [
        (("host", "web", "reconnect"), Do("reconnect", ("web",))),
        (("host", "web", "disconnect"), Do("disconnect", ("web",))),
        (("host", "web", "pause"), Pause("until-resumed", ("web",))),
        (("host", "web", "terminal"), OpenTerminal("web")),
        (("host", "web", "forward", "local", "8080:localhost:80", "open"), OpenUrl("http://localhost:8080")),
        (("host", "web", "forward", "local", "8080:localhost:80", "copy"), Copy("localhost:8080")),
        (("host", "old", "connect"), Do("reconnect", ("old",))),
        (("host", "quiet", "pause"), Do("resume", ("quiet",))),
        (("host", "db", "log-in"), LogIn("db")),
        (("host", "db", "why"), ShowWhy("db")),
        (("host", "far", "sign-in", "corp"), SignIn("corp")),
        (("vpn", "corp", "sign-in"), SignIn("corp")),
        (("reconnect-all",), Do("reconnect")),
        (("pause", "30-minutes"), Pause("30-minutes")),
        (("pause", "until-resumed"), Pause("until-resumed")),
        (("resume",), None),
        (("configuration",), EditConfiguration()),
        (("status-page",), ShowStatus()),
        (("log",), ShowLog()),
        (("start-at-login",), StartAtLogin(on=True)),
        (("quit",), Quit()),
        (("headline",), None),
        (("host", "gone", "reconnect"), None),
    ],
)
def test_each_line_does_what_it_says(key: Key, command: Command | None) -> None:
    """Each line has its command. A grey line, a label or a removed line does nothing."""
    given = view(
        host("web", forwards=[forward("local", "8080:localhost:80")]),
        host("old", "idle"),
        host("quiet", "paused"),
        host("db", "needs-sign-in", problem=problem("auth-denied")),
        host("far", "needs-vpn", problem=problem("vpn-down")),
        vpns=[vpn("corp", "down", "far")],
    )
    assert built(given, start_at_login=False).command(key) == command


def test_without_a_configuration_the_first_line_sets_one_up() -> None:
    """Without a configuration, the first line runs `init`.

    With one, the line is gone, because `init` does not overwrite it.
    """
    first = built(view(), can_set_up=True).items[0]
    assert (first.label, first.command) == ("Set up from my ssh configuration…", SetUp())
    assert built(view(), can_set_up=True, short=True).items[0].command == SetUp()
    assert ("set-up",) not in keys(built(view(host("web"))))


@pytest.mark.parametrize("count", [3, 10, 60, 200])
def test_every_key_exists_once(count: int) -> None:
    """Each key belongs to exactly one line, whether folded or not, so a click hits the right line."""
    states = ["connected", "needs-sign-in", "offline", "idle", "paused", "waiting", "failed"]
    hosts = [host(f"h{n}", states[n % 7], forwards=[forward("dynamic", "1080")]) for n in range(count)]
    found = [item.key for item in built(view(*hosts, vpns=[vpn("a", "down"), vpn("b", "down")])).walk()]
    assert len(found) == len(set(found))
    assert {("host", h["name"]) for h in hosts} <= set(found)


def test_a_key_survives_a_change_of_state_and_of_place() -> None:
    """A host keeps its key when its state or its place in the menu changes."""
    well = [host(f"h{n}") for n in range(20)]
    before = built(view(*well))
    after = built(view(host("h0", "failed"), *well[1:]))
    assert ("host", "h0") in {item.key for item in after.items} - {item.key for item in before.items}
    for whole in (before, after):
        assert whole.command(("host", "h0", "reconnect")) == Do("reconnect", ("h0",))


def test_hosts_that_need_you_come_first_and_healthy_ones_are_folded() -> None:
    """A menu of 60 hosts has a dozen lines, and each host is at most two steps away."""
    hosts = [host(f"web{n}") for n in range(57)]
    hosts[30:30] = [
        host("db", "needs-sign-in"),
        host("nas", "waiting"),
        host("hotel", "offline", problem=problem("captive-portal")),
    ]
    whole = built(view(*hosts))
    lines = [item.label for item in whole.items if item.kind != "separator"]
    assert len(lines) <= 12
    assert lines[1:5] == [
        "▲ db · needs sign-in since 14:02",
        "○ hotel · offline since 14:02",
        "↻ nas · waiting since 14:02",
        "● Connected (57)",
    ]
    pages = at(whole, "fold", "connected").children
    assert [page.label for page in pages] == ["web0 to web24", "web25 to web49", "web50 to web56"]
    assert [line.key[1] for line in pages[0].children][8:12] == ["web8", "web9", "web10", "web11"]


def test_a_few_hosts_are_not_folded() -> None:
    """Up to ten hosts in any state get a line each."""
    assert not any("fold" in key for key in keys(built(view(*[host(f"h{n}") for n in range(10)]))))
    assert any("fold" in key for key in keys(built(view(*[host(f"h{n}") for n in range(11)]))))


@pytest.mark.parametrize("state", ["offline", "connecting", "idle", "paused", "failed", "of-a-newer-agent"])
def test_a_hundred_hosts_in_one_state_still_make_a_usable_menu(state: str) -> None:
    """If a hundred hosts are in the same state, the menu folds them."""
    whole = built(view(*[host(f"h{n}", state) for n in range(100)]))
    assert len(whole.items) <= 24
    assert max(len(item.children) for item in whole.walk()) <= 25
    assert sum(item.key[:1] == ("host",) and len(item.key) == 2 for item in whole.walk()) == 100


def test_of_many_hosts_that_need_you_the_first_ones_are_visible() -> None:
    """Of 20 hosts that need the user, eight have their own line. A ninth line shows how many more there are."""
    whole = built(view(*[host(f"h{n}", "failed" if n < 20 else "connected") for n in range(60)]))
    lines = [item for item in whole.items if item.key[0] in {"host", "fold"}]
    assert [item.key[1] for item in lines[:8]] == [f"h{n}" for n in range(8)]
    assert [item.label for item in lines[8:]] == ["▲ More hosts that need you (12)", "● Connected (40)"]


def test_of_many_forwards_the_failed_ones_come_first_and_the_rest_is_folded() -> None:
    """With 40 forwards, failed ones come first and the rest is folded, so that Reconnect stays on the screen."""
    given = [forward("local", f"{8000 + n}:localhost:80") for n in range(40)]
    given[33]["state"] = given[21]["state"] = "failed"
    whole = built(view(host("web", forwards=given)))
    lines = [
        item for item in at(whole, "host", "web").children if item.key[2].endswith(("forward", "forwards"))
    ]
    assert [item.key[4].split(":")[0] for item in lines[:3]] == ["8021", "8033", "8000"]
    assert [item.label for item in lines[12:]] == ["More forwards (25)", "More forwards (3)"]
    assert sum(item.key[2:3] == ("forward",) and len(item.key) == 5 for item in whole.walk()) == 40
    few = [forward("local", f"{8000 + n}:localhost:80") for n in range(12)]
    assert not any("more-forwards" in key for key in keys(built(view(host("web", forwards=few)))))


def test_a_name_that_is_written_from_right_to_left_does_not_turn_the_line_around() -> None:
    """A right-to-left name is put between Unicode isolates in the menu and the tooltip. Other names stay unchanged."""
    hebrew = "\u05e9\u05e8\u05ea1"
    given = view(host(hebrew, "waiting"), host("web"), vpns=[vpn(hebrew, "needs-sign-in", hebrew)])
    for line in (at(built(given), "host", hebrew), at(built(given), "vpn", hebrew, "sign-in")):
        assert f"\u2068{hebrew}\u2069" in line.label
        assert f"\u2068{hebrew}\u2069" in dbusmenu_layout.label(line.label), "the panel gets it, too"
    assert f"\u2068{hebrew}\u2069" in menu.tooltip(given, NOW)
    assert "\u2068" not in at(built(given), "host", "web").label
    assert "\u202e" not in dbusmenu_layout.label("x\u202ey"), "an override is not an isolate"


def test_a_line_begins_on_the_left_whatever_its_first_letter() -> None:
    """GTK turns a line around if its first letter is written from right to left, even inside isolates."""
    hebrew = "\u2068\u05e9\u05e8\u05ea1\u2069"
    assert dbusmenu_layout.label(f"● {hebrew} · connected") == f"\u200e● {hebrew} · connected"
    assert left_to_right(f"● web\n{hebrew}: “down”") == f"● web\n\u200e{hebrew}: “down”"
    for letters in ("\u0627", "\u07ca", "\ufb1d", "\ufe8d", "\U00010840", "\U0001e900"):
        assert left_to_right(letters) == f"\u200e{letters}"


def test_two_hundred_hosts_become_a_menu_in_no_time() -> None:
    """A menu of 200 hosts is built in 20 ms. The limit of this test is higher, to allow for a busy machine."""
    forwards = [forward("local", "8080:localhost:80"), forward("remote", "2222:localhost:22")]
    given = view(*[host(f"web{n:03}", forwards=forwards) for n in range(200)])
    took = []
    for _ in range(5):
        start = time.perf_counter()
        built(given)
        took.append(time.perf_counter() - start)
    assert min(took) < GENEROUS_S


def test_two_views_that_say_the_same_make_equal_menus() -> None:
    """Equal views make equal menus at different times, so an idle agent sends the panel no update."""
    given = view(host("web"), host("db", "needs-sign-in", problem=problem("auth-denied")))
    assert menu.build(given, NOW) == menu.build(given, NOW + timedelta(hours=2))


@pytest.mark.parametrize(
    ("agent", "asked", "marked", "label"),
    [
        ({}, "1-hour", None, "Pause"),
        ({"paused": True}, "1-hour", "until-resumed", "Paused"),
        (
            {"paused": True, "paused_until": "2026-01-01T15:00:10Z"},
            "30-minutes",
            "30-minutes",
            "Paused until 16:00",
        ),
        ({"paused": True, "paused_until": "2026-01-01T14:40:00Z"}, "1-hour", "1-hour", "Paused until 15:40"),
        ({"paused": True, "paused_until": "2026-01-01T16:30:00Z"}, "1-hour", None, "Paused until 17:30"),
        ({"paused": True, "paused_until": "2026-01-01T15:00:00Z"}, None, None, "Paused until 16:00"),
        (
            {"paused": True, "paused_until": "2026-01-02T05:00:00Z"},
            None,
            "tomorrow",
            "Paused until Fri 06:00",
        ),
    ],
)
def test_the_pause_that_lasts_is_marked(
    agent: dict[str, Any], asked: Span | None, marked: str | None, label: str
) -> None:
    """The menu marks the chosen pause. A pause of another length, from the command line, is shown only by its end."""
    whole = built(view(host("web"), agent=agent), pause=asked)
    assert [item.key[1] for item in whole.walk() if item.kind == "radio" and item.checked] == (
        [marked] if marked else []
    )
    assert at(whole, "pause").label == label
    assert at(whole, "resume").enabled is bool(agent)


@pytest.mark.parametrize(
    ("span", "now", "hours"),
    [
        ("30-minutes", "2026-01-01T14:30:00Z", 0.5),
        ("1-hour", "2026-01-01T14:30:00Z", 1),
        ("tomorrow", "2026-01-01T14:30:00Z", 14.5),
        ("tomorrow", "2026-01-01T00:30:00Z", 4.5),  # at 1:30 at night, "tomorrow" is the coming morning
        ("tomorrow", "2026-01-01T03:30:00Z", 25.5),
        ("tomorrow", "2026-03-28T17:00:00Z", 11),  # daylight saving time begins that night
    ],
)
def test_a_pause_is_counted_from_when_it_is_chosen(span: Span, now: str, hours: float) -> None:
    """The pause "Until tomorrow" lasts until six in the morning, also when the clocks change at night."""
    assert commands.seconds(span, datetime.fromisoformat(now)) == hours * 3600
    assert commands.seconds("until-resumed", datetime.fromisoformat(now)) is None


def test_while_everything_is_paused_no_host_can_be_paused_individually() -> None:
    """While everything is paused, no single host can be paused, because the view cannot show both pauses."""
    whole = built(view(host("web", "paused"), agent={"paused": True}))
    assert not at(whole, "host", "web", "pause").enabled
    assert whole.command(("host", "web", "pause")) is None


@pytest.mark.parametrize(
    ("kind", "spec", "label", "does"),
    [
        (
            "local",
            "8443:localhost:443",
            "● 8443 → localhost:443",
            ["https://localhost:8443", "localhost:8443"],
        ),
        ("local", "127.0.0.1:81:web:80", "● 127.0.0.1:81 → web:80", ["http://localhost:81", "localhost:81"]),
        ("local", "*:81:web:80", "● *:81 → web:80", ["http://localhost:81", "localhost:81"]),
        (
            "local",
            "[fd00::1]:81:[fd00::2]:80",
            "● [fd00::1]:81 → [fd00::2]:80",
            ["http://[fd00::1]:81", "[fd00::1]:81"],
        ),
        ("local", "2375:/run/docker.sock", "● 2375 → /run/docker.sock", ["localhost:2375"]),
        ("local", "/srv/db.sock:db:5432", "● /srv/db.sock → db:5432", ["/srv/db.sock"]),
        ("dynamic", "1080", "● SOCKS 1080", ["socks5h://localhost:1080"]),
        ("remote", "22221:localhost:22", "● on the server: 22221 → localhost:22", []),
        ("remote", "1080", "● on the server: SOCKS 1080", []),
        ("local", "not a forward", "● local not a forward", []),
    ],
)
def test_the_local_end_of_a_forward_is_opened_or_copied(
    kind: str, spec: str, label: str, does: list[str]
) -> None:
    """The menu offers this machine's end of the forward, and for a port also the browser."""
    line = at(built(view(host("web", forwards=[forward(kind, spec)]))), "host", "web", "forward", kind, spec)
    assert line.label == label
    told = [c.url if isinstance(c, OpenUrl) else c.text for i in line.children if (c := i.command)]  # type: ignore[union-attr]  # there is no other kind
    assert told == does
    assert line.kind == ("submenu" if does else "label")


@pytest.mark.parametrize("state", ["closed", "opening", "failed"])
def test_a_forward_that_is_not_open_offers_nothing(state: str) -> None:
    """A forward that is not open offers no action. Its sign shows the state, and a failed one shows the reason."""
    for error in ("the port is taken", problem("forward-failed", "the port is taken")):
        given = forward("local", "1:web:80", state, error=error if state == "failed" else None)
        line = at(built(view(host("web", forwards=[given]))), "host", "web", "forward", "local", "1:web:80")
        assert line.kind == "label"
        assert line.label.endswith("the port is taken") is (state == "failed")


def test_a_login_is_offered_only_where_it_helps() -> None:
    """A login does not fix a changed host key, and a VPN must be up before its hosts."""
    for state, code in (
        ("failed", "host-key-changed"),
        ("waiting", "timed-out"),
        ("needs-sign-in", "vpn-needs-sign-in"),
    ):
        assert ("host", "db", "log-in") not in keys(built(view(host("db", state, problem=problem(code)))))


def test_sign_in_is_offered_for_vpns_that_can_be_signed_in_to() -> None:
    """Sign-in is offered for VPNs with a sign-in.

    A VPN that only the user can start by hand is shown without an action.
    """
    vpns = [
        vpn("corp", "needs-sign-in", "db"),
        vpn("home", "down"),
        vpn("tun7", "down"),
        vpn("up", "up", "db"),
    ]
    given = view(host("db", "needs-vpn", problem=problem("vpn-needs-sign-in")), vpns=vpns)
    offered = [i.command for i in built(given, sign_ins=frozenset({"corp", "home"})).walk()]
    assert [c for c in offered if isinstance(c, SignIn)] == [SignIn("corp"), SignIn("corp"), SignIn("home")]
    all_of_them = built(given)
    assert [i.key[1] for i in at(all_of_them, "vpns").children] == ["home", "tun7"]
    none = built(given, sign_ins=frozenset())
    assert at(none, "vpn", "corp", "waits").label == "▲ corp wants you to sign in"
    assert not any(isinstance(item.command, SignIn) for item in none.walk())


def test_foreign_texts_stay_on_one_line_of_limited_length() -> None:
    """Texts from a server are shown on one short line, without control characters. A long name keeps both ends."""
    name, title = "begin" + "x" * 80 + "end", "one\x1b[31m\ntwo " + "word " * 40
    whole = built(view(host(name, "failed", problem=problem("unknown", title))))
    for item in whole.walk():
        assert item.label.isprintable()
        assert len(item.label) <= 100
    assert any("begin" in i.label and "end" in i.label for i in whole.items)


def test_reconnect_all_is_grey_where_it_would_do_nothing() -> None:
    """The line "Reconnect all" is grey unless a listed host should be up."""
    assert at(built(view(host("web"))), "reconnect-all").enabled
    for lone in (host("web", listed=False), host("web", "idle"), host("web", "paused")):
        assert not at(built(view(lone)), "reconnect-all").enabled


def test_start_at_login_is_left_out_where_it_is_unknown() -> None:
    """If the setting is unknown, the menu has no box for it.

    Otherwise the box shows it, and choosing the box toggles it.
    """
    assert ("start-at-login",) not in keys(built(view()))
    assert built(view(), start_at_login=True).command(("start-at-login",)) == StartAtLogin(on=False)


@pytest.mark.parametrize(
    ("since", "shown"),
    [
        ("2026-01-01T13:02:59Z", " since 14:02"),
        ("2025-12-31T22:59:00Z", " since Wed 23:59"),
        ("2025-12-20T12:00:00Z", " since 2025-12-20"),
        (None, ""),
    ],
)
def test_times_are_in_the_users_time_zone(since: str | None, shown: str) -> None:
    """Times are in the user's time zone, with the weekday or date if they are not today."""
    assert at(built(view(host("web", since=since))), "host", "web").label == f"● web · connected{shown}"


def test_a_configuration_with_a_mistake_is_shown_first() -> None:
    """The menu shows the error and a line to edit the file. The tooltip shows the error, too.

    An older agent reports no error.
    """
    error = "~/.config/trayagent/config.toml, [hosts.web]: there is no setting lokal; do you mean local?"
    given = view(host("web"), agent={"config_error": error})
    whole = built(given)
    assert drawn(whole.items)[:5] == [
        "1 of 1 connected · wlan0",
        "▲ Configuration has a mistake: edit…",
        "~/.config/trayagent/config.toml, [hosts.web]: there is no",
        "setting lokal; do you mean local?",
        "---",
    ]
    assert at(whole, "rejected").command == EditConfiguration()
    assert menu.tooltip(given, NOW).splitlines()[1] == "▲ the configuration has a mistake"
    assert not any("mistake" in line for line in drawn(built(view(host("web"))).items))


def test_a_paused_host_shows_whether_it_is_still_connected() -> None:
    """A pause ends nothing: a connected host stays connected, but the agent does not check it."""
    lives = host("web", "paused", pid=4242, peer="203.0.113.10:22")
    seen = drawn(built(view(lives, host("old", "paused"))).items)
    assert "‖ web · paused, still connected since 14:02 ▸" in seen
    assert "    203.0.113.10:22 over wlan0" in seen
    assert "‖ old · paused since 14:02 ▸" in seen


def test_the_error_of_a_sign_in_is_below_its_line() -> None:
    """Without notifications only the menu can show the error.

    The usual hint is left out, because the line contains the same text.
    """
    failed = vpn("corp", "needs-sign-in", "db")
    failed["problem"] = problem(
        "vpn-needs-sign-in", "x", "Signing in to corp failed: wrong code (14:26:42). Try it"
    )
    usual = failed | {"problem": vpn_problem("corp").as_json()}
    shown = [drawn(built(view(host("db", "needs-vpn"), vpns=[v])).items)[1:4] for v in (failed, usual)]
    assert shown == [
        ["▲ Sign in to corp…", "Signing in to corp failed: wrong code (14:26:42). Try it", "---"],
        ["▲ Sign in to corp…", "---", "◇ db · needs VPN since 14:02 ▸"],
    ]


def test_a_host_that_the_user_disconnected_is_marked() -> None:
    """An idle host that the user disconnected is shown as "disconnected by you"."""
    ended = drawn(built(view(host("web", "idle", held=True), host("old", "idle", held=False))).items)
    assert "– web · disconnected by you since 14:02 ▸" in ended  # noqa: RUF001  # the menu's sign
    assert "– old · idle since 14:02 ▸" in ended  # noqa: RUF001


def test_sessions_of_an_earlier_connection_are_shown() -> None:
    """The menu shows sessions of an earlier connection, with the time when that connection was made."""
    draining = [{"pid": 7, "since": "2026-01-01T13:02:00Z", "sessions": 2, "connections": 0}]
    whole = built(view(hosts=[host("web", draining=draining)]))
    assert (
        at(whole, "host", "web", "draining", "0").label == "2 sessions still use the connection made at 14:02"
    )


def test_the_tooltip_names_what_is_missing_and_why() -> None:
    """The headline comes first, then at most five hosts, those that need you first."""
    missing = [host(f"h{n}", "waiting") for n in range(6)]
    denied = host("db", "needs-sign-in", problem=problem("auth-denied", "db asks for a password"))
    given = view(host("web"), host("old", "idle"), *missing, denied)
    assert menu.tooltip(given, NOW).splitlines() == [
        "1 of 8 connected · wlan0",
        "▲ db: db asks for a password",
        "↻ h0: waiting since 14:02",
        "↻ h1: waiting since 14:02",
        "↻ h2: waiting since 14:02",
        "↻ h3: waiting since 14:02",
        "and 2 more",
    ]
    assert menu.tooltip(view(host("web")), NOW) == "1 of 1 connected · wlan0"
    shut = [forward("local", "80:localhost:80", "failed")]
    assert (
        menu.tooltip(view(host("web", forwards=shut)), NOW).splitlines()[1] == "✗ web: a forward is not open"
    )
    assert menu.tooltip(view(host("web", "idle", forwards=shut)), NOW) == "Nothing to connect · wlan0"
