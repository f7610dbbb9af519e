"""The icon and its menu as a panel reads them, over a private bus, with a fake watcher."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.desktop.actors import BLUE, GREEN, RED, FakeWatcher, Panel, called, look, menu, pixmaps
from tests.desktop.desk import Desk, run, until
from trayagent.desktop.session_bus import SessionBus
from trayagent.desktop.tray.known_panels import Panel as TrayPanel
from trayagent.desktop.tray.linux_tray import StatusNotifierTray
from trayagent.desktop.tray.look import Entry, Look


@asynccontextmanager
async def on_the_bus(desk: Desk, **of_tray: Any) -> AsyncIterator[tuple[StatusNotifierTray, list[Any]]]:
    """Run a tray on a private bus. Yield it and the choices in its menu."""
    if "DBUS_SESSION_BUS_ADDRESS" not in desk.environment:
        desk.bus()
    chosen: list[Any] = []
    tray = StatusNotifierTray(chosen.append, **of_tray)
    bus = SessionBus(
        [tray], addresses=lambda: [desk.environment["DBUS_SESSION_BUS_ADDRESS"]], first_retry_s=0.02
    )
    bus.start()
    try:
        yield tray, chosen
    finally:
        tray.close()
        await bus.close()


@asynccontextmanager
async def with_panel(
    desk: Desk, **of_tray: Any
) -> AsyncIterator[tuple[StatusNotifierTray, list[Any], Panel]]:
    """Run a tray that is registered with a fake watcher. Yield it with its choices and the panel's side."""
    address = desk.bus()
    watcher = await FakeWatcher().take(address)
    async with on_the_bus(desk, **of_tray) as (tray, chosen):
        tray.show(look())
        await until(lambda: watcher.registered, "registered")
        panel = await Panel.on(address, watcher.registered[0])
        try:
            yield tray, chosen, panel
        finally:
            panel.close()
            watcher.leave()


def test_every_property_exists_and_has_its_type(desk: Desk) -> None:
    """A panel that reads all properties gets each property of the specification, with the right type."""

    async def body() -> None:
        async with with_panel(desk) as (_, _, panel):
            icon = await panel.properties("org.kde.StatusNotifierItem")
            assert set(icon) == {
                "Category", "Id", "Title", "Status", "WindowId", "IconThemePath", "IconName", "IconPixmap",
                "IconAccessibleDesc", "OverlayIconName", "OverlayIconPixmap", "AttentionIconName",
                "AttentionIconPixmap", "AttentionAccessibleDesc", "AttentionMovieName", "ToolTip",
                "ItemIsMenu", "Menu",
            }  # fmt: skip
            assert [p[0] for p in icon["IconPixmap"]] == [16, 22, 24, 32, 48]
            assert icon["IconPixmap"][0] == (16, 16, bytes([255, *RED]) * 256)
            assert icon["ToolTip"] == ("", [], "trayagent", "2 of 2")
            assert (icon["Id"], icon["Status"], icon["Menu"]) == ("trayagent", "Active", "/MenuBar")
            of_menu = await panel.properties("com.canonical.dbusmenu")
            assert of_menu == {"Version": 3, "TextDirection": "ltr", "Status": "normal", "IconThemePath": []}
            assert panel.service.startswith(":"), (
                "the unique name of the connection, which lives as long as the icon"
            )

    run(body())


def test_characters_that_the_bus_cannot_carry_do_not_empty_the_menu(desk: Desk) -> None:
    """Characters that D-Bus cannot carry are removed from tooltips and labels, which may quote a program's output."""

    async def body() -> None:
        async with with_panel(desk, interval_s=0) as (tray, _, panel):
            tray.show(look(tooltip="a\0\udc80\nb", hosts=("we\0b\udc80",)))
            assert "we\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}: connected" in await panel.items()
            icon = await panel.properties("org.kde.StatusNotifierItem")
            assert icon["ToolTip"][3] == "a?\nb"

    run(body())


def test_the_menu_is_served_as_the_panel_requests(desk: Desk) -> None:
    """The menu serves layouts of any depth, and several or single properties.

    A missing item gives an error, not a crash.
    """

    async def body() -> None:
        async with with_panel(desk) as (_, _, panel):
            items = await panel.items()
            assert items["web__01: connected"][1]["children-display"] == "submenu"
            assert items["2 hosts connected"][1]["enabled"] is False
            assert items["Start at login"][1] == {
                "label": "Start at login", "toggle-type": "checkmark", "toggle-state": 1,
            }  # fmt: skip
            assert items["1 hour"][1]["toggle-type"] == "radio"
            _, shallow = await panel.ask("GetLayout", "iias", 0, 1, ["label"])
            assert all(not child.value[2] for child in shallow[2])
            number = items["Quit (masters stay)"][0]
            (group,) = await panel.ask("GetGroupProperties", "aias", [number, 9999], ["label"])
            assert group[0] == number
            assert group[1]["label"].value == "Quit (masters stay)"
            assert len(await panel.ask("GetGroupProperties", "aias", [], [])) == 17
            assert (await panel.ask("GetProperty", "is", number, "label")).value == "Quit (masters stay)"
            wrong = "org.freedesktop.DBus.Error.InvalidArgs"
            assert await panel.ask("GetProperty", "is", number, "colour") == wrong
            assert await panel.ask("GetLayout", "iias", 9999, -1, []) == wrong
            assert await panel.ask("AboutToShow", "i", 9999) == wrong
            assert await panel.ask("AboutToShowGroup", "ai", [0, 9999]) == [[], [9999]]

    run(body())


def test_a_click_reaches_its_key_and_a_stale_click_nothing(desk: Desk) -> None:
    """Numbers are never reused, so a click on a removed host does not reach another host."""

    async def body() -> None:
        async with with_panel(desk, interval_s=0) as (tray, chosen, panel):
            items = await panel.items()
            old = (await panel.ask("GetLayout", "iias", items["db: connected"][0], -1, []))[1][2][0].value[0]
            await click(panel, items["Reconnect all"][0])
            assert chosen == ["reconnect"]
            await click(panel, items["2 hosts connected"][0])
            tray.show(look(hosts=("web_01", "mail")))
            assert await click(panel, old) == "org.freedesktop.DBus.Error.InvalidArgs"
            tray.show(look(hosts=("web_01", "db")))
            again = await panel.items()
            assert again["web__01: connected"][0] == items["web__01: connected"][0]
            assert again["db: connected"][0] not in {number for number, _ in items.values()}
            assert chosen == ["reconnect"]
            quit_ = again["Quit (masters stay)"][0]
            for kind in ("hovered", "opened", "closed"):
                await panel.ask("Event", "isvu", quit_, kind, variant(), 0)
            group = [[quit_, "clicked", variant(), 0], [9999, "clicked", variant(), 0]]
            assert await panel.ask("EventGroup", "a(isvu)", group) == [9999]
            assert chosen == ["reconnect", "quit"]

    run(body())


def test_labels_are_updated_in_place_and_structure_only_when_it_changed(desk: Desk) -> None:
    """Label changes are sent as property updates, so an open menu stays open.

    A layout change is sent with its nearest parent.
    """

    async def body() -> None:
        async with with_panel(desk, interval_s=0) as (tray, _, panel):
            items = await panel.items()
            tray.show(look(state="offline", chosen="1 hour"))
            await until(lambda: len(panel.signals) == 1, "one signal")
            name, (updated, removed) = panel.signals.pop()
            assert (name, removed) == ("ItemsPropertiesUpdated", [])
            changed = {number: {k: v.value for k, v in props.items()} for number, props in updated}
            assert changed[items["1 hour"][0]] == {"toggle-state": 1}
            assert changed[items["db: connected"][0]] == {"label": "db: offline"}
            tray.show(look(state="offline", chosen="1 hour", hosts=("web_01",)))
            await until(lambda: panel.signals, "a signal")
            assert [(name, body[1]) for name, body in panel.signals] == [("LayoutUpdated", 0)]

    run(body())


def test_a_panel_that_reads_one_level_is_told_of_each_submenu(desk: Desk) -> None:
    """Plasma reads one level at a time, and only what a signal names. It reads each submenu before the user opens it.

    It is also told of each submenu that changed, if several change at once.
    """

    async def body() -> None:
        async with with_panel(desk, interval_s=0) as (tray, _, panel):
            lines = dict[int, list[str]]()

            async def read(number: int) -> None:
                _, (_, _, children) = await panel.ask("GetLayout", "iias", number, 1, [])
                lines[number] = [child.value[1]["label"].value for child in children]

            async def follows(*expected: list[str]) -> None:
                """Read what each signal names, until all these submenus were read."""
                while any(submenu not in lines.values() for submenu in expected):
                    await until(lambda: panel.signals, f"{expected} was not announced: {lines}")
                    name, body = panel.signals.pop(0)
                    if name == "LayoutUpdated":
                        await read(body[1])

            def show(**submenus: str) -> None:
                deep = Entry("deep", "deep", "submenu", children=(Entry("x", "x"),))
                items = [
                    Entry(name, name, "submenu", children=(*(Entry(c, c) for c in inner), deep))
                    for name, inner in submenus.items()
                ]
                tray.show(Look(pixmaps(RED), "trayagent", "", items))

            show(one="ab", two="cd")
            await follows(["one", "two"], ["a", "b", "deep"], ["c", "d", "deep"], ["x"])
            show(one="a", two="c")
            await follows(["a", "deep"], ["c", "deep"])
            assert ["a", "b", "deep"] not in lines.values()
            for _ in range(3):
                await read(0)
            assert "LayoutUpdated" not in dict(panel.signals), "each submenu is announced once"

    run(body())


def test_the_icon_sends_only_changes(desk: Desk) -> None:
    """The same look sends no signal, and a new tooltip does not make the panel fetch the picture again."""

    async def body() -> None:
        async with with_panel(desk, interval_s=0) as (tray, _, panel):
            tray.show(look())
            tray.show(look(tooltip="1 of 2"))
            await until(lambda: panel.signals, "a signal")
            assert [name for name, _ in panel.signals] == ["NewToolTip"]
            panel.signals.clear()
            tray.show(Look(pixmaps(GREEN), "trayagent", "1 of 2", menu(), attention=True))
            await until(lambda: len(panel.signals) == 3, "the signals")
            assert [s[0] for s in panel.signals] == ["NewIcon", "NewAttentionIcon", "NewStatus"]
            assert panel.signals[-1][1] == ["NeedsAttention"]

    run(body())


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("gnome-shell", TrayPanel("gnome-shell", recolours=True, unfolds=True)),
        ("of-a-new-one", TrayPanel("of-a-new-one")),
    ],
)
def test_the_panel_is_known_before_it_reads_the_icon(desk: Desk, program: str, expected: TrayPanel) -> None:
    """The panel is identified by the process that owns the watcher, so the first look already suits the panel."""

    async def body() -> None:
        def adapt() -> None:
            tray.show(Look(pixmaps(RED), "trayagent", "", menu(), icon_name=f"for-{tray.panel.program}"))

        address = desk.bus()
        with called(program):
            watcher = await FakeWatcher().take(address)
            async with on_the_bus(desk, panel_changed=adapt, interval_s=60) as (tray, _):
                tray.show(look())
                await until(lambda: watcher.registered, "registered")
                assert tray.panel == expected
                panel = await Panel.on(address, watcher.registered[0])
                icon = await panel.properties("org.kde.StatusNotifierItem")
                assert icon["IconName"] == icon["AttentionIconName"] == f"for-{program}"
                panel.close()
            watcher.leave()

    run(body())


def test_the_same_look_again_costs_nothing(desk: Desk) -> None:
    """Setting the same look again starts no timer."""

    async def body() -> None:
        async with with_panel(desk, interval_s=60) as (tray, _, _):
            tray.show(look())
            assert tray._pace._timer is None
            tray.show(look(GREEN))
            assert tray._pace._timer is not None

    run(body())


def test_200_changes_in_a_second_reach_the_panel_as_at_most_five(desk: Desk) -> None:
    """The first and the last change are always sent. In between, at most four changes per second are sent."""

    async def body() -> None:
        async with with_panel(desk) as (tray, _, panel):
            await asyncio.sleep(0.3)  # wait a quarter of a second after the first look
            loop = asyncio.get_running_loop()
            begin = loop.time()
            for i in range(200):
                tray.show(look((GREEN, BLUE)[i % 2], tooltip=str(i), state=f"at {i}"))
                await asyncio.sleep(max(0, begin + (i + 1) * 0.005 - loop.time()))
            sent = [name for name, _ in panel.signals].count("NewToolTip")
            assert 1 <= sent <= 1 + (loop.time() - begin) * 4
            await until(
                lambda: tray._shown == look(BLUE, tooltip="199", state="at 199"), "the last one is shown"
            )
            icon = await panel.properties("org.kde.StatusNotifierItem")
            assert icon["ToolTip"][3] == "199"

    run(body())


def test_an_update_at_opening_is_shown_at_once(desk: Desk) -> None:
    """Relative times are updated when the menu opens, before the panel draws it."""

    async def body() -> None:
        times: list[str] = []

        def opening() -> None:
            times.append("opened")
            tray.show(look(state=f"opened {len(times)}", hosts=("web_01", "db", "mail")))

        async with with_panel(desk, interval_s=60, opening=opening) as (tray, _, panel):
            assert await panel.ask("AboutToShow", "i", 0) is True
            assert "mail: opened 1" in await panel.items()
            assert await panel.ask("AboutToShow", "i", 0) is False
            assert times == ["opened", "opened"]

    run(body())


def test_a_panel_that_comes_late_or_again_gets_the_icon(desk: Desk) -> None:
    """A missing watcher is no error.

    The icon registers with each new watcher, and `problem` shows the current state.
    """

    async def body() -> None:
        address = desk.bus()
        async with on_the_bus(desk) as (tray, _):
            tray.show(look())
            await until(lambda: "no panel" in (tray.problem or ""), "the missing panel is reported")
            for _ in range(3):
                watcher = await FakeWatcher().take(address)
                await until(lambda w=watcher: w.registered, "registered")  # type: ignore[misc]  # a default argument of a lambda
                await until(lambda: tray.problem is None, "no problem left")
                watcher.leave()
                await until(lambda: tray.problem is not None, "its end is noticed")

    run(body())


def test_a_watcher_that_refuses_is_retried_and_logged_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """A watcher that refuses may just be starting, so the icon retries and registers when the watcher accepts."""

    async def body() -> None:
        watcher = await FakeWatcher(refuses=4).take(desk.bus())
        async with on_the_bus(desk, first_retry_s=0.01) as (tray, _):
            tray.show(look())
            await until(lambda: "not now" in (tray.problem or ""), "the refusal is reported")
            await until(lambda: tray.problem is None, "it is registered after all")
            assert watcher.asked == 5
            watcher.leave()

    with caplog.at_level(logging.WARNING):
        run(body())
    assert [r.message for r in caplog.records].count(
        "the panel's tray refuses the icon: RegisterStatusNotifierItem: not now"
    ) == 1


@pytest.mark.parametrize(("said", "problem"), [(True, None), (False, "shows nothing yet")])
def test_a_watcher_without_a_panel_is_a_problem_until_one_comes(
    desk: Desk, said: bool, problem: str | None
) -> None:
    """KDE's watcher can run without a panel. When a panel registers, the problem is gone."""

    async def body() -> None:
        watcher = await FakeWatcher(host=said).take(desk.bus())
        async with on_the_bus(desk) as (tray, _):
            tray.show(look())
            await until(lambda: watcher.registered, "registered")
            await until(
                lambda: (problem in (tray.problem or "?")) if problem else tray.problem is None, "reported"
            )
            watcher.StatusNotifierHostRegistered()
            await until(lambda: tray.problem is None, "the problem is gone")
            watcher.leave()

    run(body())


def test_one_panel_of_several_may_leave(desk: Desk) -> None:
    """`problem` is set only when the last panel leaves, not while another panel still shows the icon."""

    async def body() -> None:
        watcher = await FakeWatcher().take(desk.bus())
        async with on_the_bus(desk) as (tray, _):
            tray.show(look())
            await until(lambda: tray.problem is None, "shown")
            looked = watcher.looked
            watcher.StatusNotifierHostUnregistered()
            await until(lambda: watcher.looked > looked, "the watcher is queried")
            assert tray.problem is None
            watcher.host = False
            watcher.StatusNotifierHostUnregistered()
            await until(lambda: "shows nothing yet" in (tray.problem or ""), "the last one left")
            watcher.StatusNotifierHostRegistered()
            await until(lambda: tray.problem is None, "one came")
            watcher.leave()

    run(body())


@pytest.mark.filterwarnings("default")
def test_a_watcher_with_malformed_properties_is_believed(desk: Desk) -> None:
    """If the watcher's properties are malformed, the icon is registered anyway."""

    async def body() -> None:
        watcher = await FakeWatcher(host="perhaps").take(desk.bus())
        async with on_the_bus(desk) as (tray, _):
            tray.show(look())
            await until(lambda: watcher.registered and tray.problem is None, "registered")
            watcher.leave()

    run(body())


def test_an_icon_that_the_watcher_drops_is_registered_again(desk: Desk) -> None:
    """If AppIndicator's extension drops the icon, the icon registers again. Signals about other icons are ignored."""

    async def body() -> None:
        watcher = await FakeWatcher().take(desk.bus())
        async with on_the_bus(desk, first_retry_s=0.01) as (tray, _):
            tray.show(look())
            await until(lambda: watcher.registered and tray.problem is None, "registered")
            (ours,) = watcher.registered
            watcher.StatusNotifierItemUnregistered(f"{ours}0@/StatusNotifierItem")
            watcher.StatusNotifierItemUnregistered(f"{ours}@/StatusNotifierItem")
            await until(lambda: watcher.registered == [ours, ours], "registered again, once")
            await until(lambda: tray.problem is None, "the problem is gone")
            watcher.leave()

    run(body())


def test_5000_updates_leave_nothing_behind(desk: Desk) -> None:
    """Memory after 5,000 changes of labels and structure is about the same as after 500."""

    async def body() -> None:
        async with with_panel(desk, interval_s=0) as (tray, _, panel):

            async def change(times: int) -> int:
                for i in range(times):
                    tray.show(look((GREEN, BLUE)[i % 2], state=f"at {i}", hosts=("web_01", f"host {i}")))
                    if i % 20 == 0:
                        await panel.items()
                    panel.signals.clear()
                gc.collect()
                return len(gc.get_objects())

            before = await change(500)
            assert await change(5000) - before < 300
            assert len(tray._layouts._ids) == len(tray._layouts.nodes) - 1

    run(body())


async def click(panel: Panel, number: int) -> Any:
    """Send the event that a panel sends for a click."""
    return await panel.ask("Event", "isvu", number, "clicked", variant(), 0)


def variant() -> Any:
    """Return the empty data that panels send with an event."""
    from dbus_fast import Variant

    return Variant("i", 0)
