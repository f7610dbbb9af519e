"""Notifications over the bus, with a fake notification server that can be slow, limited, dead or restarted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from dbus_fast import Message as BusMessage
from dbus_fast.aio import MessageBus

from tests.desktop.actors import FakeServer
from tests.desktop.desk import Desk, run, until
from tests.desktop.views import host, view
from trayagent.desktop.bus_connection import BusCallError
from trayagent.desktop.notifications.dispatcher import Dispatcher
from trayagent.desktop.notifications.findings import Finding
from trayagent.desktop.notifications.freedesktop_notifier import LATE_S, Notifier
from trayagent.desktop.notifications.group_into_messages import messages
from trayagent.desktop.notifications.message_type import Message
from trayagent.desktop.session_bus import SessionBus

SERVER_PATH = "/org/freedesktop/Notifications"
SIGN_IN = Message(
    "vpn corp", "Sign in to VPN corp", "db waits", actions=(("sign-in", "Sign in"),), stays=True
)


@asynccontextmanager
async def notifier(desk: Desk, **options: Any) -> AsyncIterator[tuple[Notifier, list[Any]]]:
    """Run a notifier on the desk's bus. Yield it and the callbacks that it made."""
    heard: list[Any] = []
    made = Notifier(lambda key, action: heard.append((key, action)), heard.append, **options)
    if "DBUS_SESSION_BUS_ADDRESS" not in desk.environment:
        desk.bus()
    bus = SessionBus([made], addresses=lambda: [desk.environment["DBUS_SESSION_BUS_ADDRESS"]])
    bus.start()
    try:
        yield made, heard
    finally:
        await bus.close()


def test_a_message_is_shown_replaced_and_withdrawn(desk: Desk) -> None:
    """The same message is sent once, another text keeps the number, and a withdrawal closes the message."""

    async def body() -> None:
        server = await FakeServer().take(desk.bus())
        async with notifier(desk) as (shows, heard):
            shows.show(SIGN_IN)
            shows.show(SIGN_IN)
            await until(lambda: server.shown and not shows._tasks, "shown")
            told = ["trayagent", "Sign in to VPN corp", "db waits", ["sign-in", "Sign in"], 1, 0]
            assert server.shown == [(1, told)]
            shows.show(SIGN_IN)
            assert shows._tasks == {}
            shows.show(Message("vpn corp", "Sign in to VPN corp", "db and git wait", "critical"))
            await until(lambda: len(server.shown) == 2, "replaced")
            told = ["trayagent", "Sign in to VPN corp", "db and git wait", [], 2, -1]
            assert server.shown[1] == (1, told)
            shows.withdraw("vpn corp")
            shows.withdraw("vpn corp")
            shows.withdraw("never shown")
            await until(lambda: server.closed == [1] and not shows._tasks, "withdrawn")
            shows.show(SIGN_IN)
            await until(lambda: len(server.shown) == 3, "shown again")
            assert server.shown[2][0] == 2
            assert heard == []
            assert shows.problem is None
        server.leave()

    run(body())


def test_buttons_and_closings_count_for_messages_on_the_screen(desk: Desk) -> None:
    """Another program's message, an unknown button and a second closing are ignored."""

    async def body() -> None:
        server = await FakeServer().take(desk.bus())
        async with notifier(desk) as (shows, heard):
            shows.show(SIGN_IN)
            await until(lambda: shows._ids, "shown")
            server.ActionInvoked(99, "sign-in")
            server.ActionInvoked(1, "format-disk")
            server.NotificationClosed(99, 2)
            server.ActionInvoked(1, "sign-in")
            server.NotificationClosed(1, 2)
            server.NotificationClosed(1, 2)
            await until(lambda: len(heard) >= 2, "heard")
            assert heard == [("vpn corp", "sign-in"), "vpn corp"]
            shows.withdraw("vpn corp")
            shows.show(SIGN_IN)
            await until(lambda: len(server.shown) == 2, "the next time it is shown again")
            assert server.closed == []
        server.leave()

    run(body())


def test_a_button_signal_of_another_program_is_ignored(desk: Desk) -> None:
    """A button signal counts only if it comes from the notification server itself."""

    async def body() -> None:
        server = await FakeServer().take(desk.bus())
        async with notifier(desk) as (shows, heard):
            shows.show(SIGN_IN)
            await until(lambda: shows._ids, "shown")
            other = await MessageBus(desk.environment["DBUS_SESSION_BUS_ADDRESS"]).connect()
            claim = BusMessage.new_signal(SERVER_PATH, FakeServer.NAME, "ActionInvoked", "us", [1, "sign-in"])
            assert shows._server is not None
            claim.destination = shows._server._connection.bus.unique_name
            await other.send(claim)
            await other.call(BusMessage(FakeServer.NAME, SERVER_PATH, FakeServer.NAME, "GetCapabilities"))
            server.NotificationClosed(1, 2)  # when this arrives, the forged signal has been read
            await until(lambda: heard, "heard")
            assert heard == ["vpn corp"]
            other.disconnect()
        server.leave()

    run(body())


def test_a_server_without_buttons_gets_none_and_markup_is_escaped_where_it_counts(desk: Desk) -> None:
    """A server without the capability gets no buttons. Markup is escaped only for a server that interprets it."""

    async def body() -> None:
        server = await FakeServer(can=["body", "body-markup"]).take(desk.bus())
        async with notifier(desk) as (shows, _):
            shows.show(Message("k", "a <b>", "x < y & z", actions=(("why", "Show why"),)))
            await until(lambda: server.shown, "shown")
            assert server.shown[0][1][1:4] == ["a <b>", "x &lt; y &amp; z", []]
        server.leave()

    run(body())


def test_a_server_that_never_answers_blocks_nothing(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """If a server never answers, the problem is logged once.

    When it answers again, it gets only the latest message per key.
    """

    async def body() -> None:
        server = await FakeServer(answers=False).take(desk.bus())
        async with notifier(desk, late_s=0.02) as (shows, _):
            shows.show(SIGN_IN)
            shows.show(Message("other", "Other", ""))
            await until(lambda: "does not answer" in (shows.problem or ""), "reported")
            for i in range(100):
                shows.show(Message("vpn corp", f"Sign in, {i}", ""))
            shows.withdraw("other")
            assert len(shows._tasks) == 2
            server.answers.set()
            await until(lambda: not shows._tasks, "the screen is up to date")
            assert [told[1] for _, told in server.shown] == ["Sign in to VPN corp", "Other", "Sign in, 99"]
            assert len(server.closed) == 1
            assert shows.problem is None
        server.leave()

    with caplog.at_level(logging.WARNING, "trayagent"):
        run(body())
    assert [r.message for r in caplog.records] == ["the notification server does not answer"]


def test_a_server_that_died_gets_the_messages_again(desk: Desk) -> None:
    """A restarted server gets the current messages again, but not those that the user closed or that are over."""

    async def body() -> None:
        address = desk.bus()
        server = await FakeServer().take(address)
        async with notifier(desk) as (shows, _):
            for message in (SIGN_IN, Message("done", "Done", ""), Message("over", "Over", "", passing=True)):
                shows.show(message)
            await until(lambda: len(shows._ids) == 3, "shown")
            server.NotificationClosed(shows._ids["done"], 2)
            await until(lambda: "done" not in shows._ids, "closed")
            server.leave()
            await until(lambda: "went away" in (shows.problem or ""), "its end is noticed")
            assert shows._ids == {}
            again = await FakeServer().take(address)
            await until(lambda: again.shown, "shown again")
            await until(lambda: not shows._tasks, "all shown")
            assert [told[1] for _, told in again.shown] == ["Sign in to VPN corp"]
            again.leave()

    run(body())


def all_shown(shows: Notifier, server: FakeServer, number: int) -> bool:
    """Report whether the server got `number` messages, and no request is pending."""
    return len(server.shown) == number and not shows._tasks


def test_a_passing_message_is_shown_each_time(desk: Desk) -> None:
    """A passing message, such as a recovery, is shown again with the same text. A lasting message is shown once."""

    async def body() -> None:
        server = await FakeServer().take(desk.bus())
        async with notifier(desk) as (shows, _):
            back = Message("back", "web: connected again", "", passing=True)
            for number, message in enumerate((back, SIGN_IN, back), 1):
                shows.show(message)
                await until(partial(all_shown, shows, server, number), "shown")
            shows.show(SIGN_IN)
            assert not shows._tasks
            assert [told[1] for _, told in server.shown].count(back.title) == 2
            assert [told[1] for _, told in server.shown].count(SIGN_IN.title) == 1
            assert len({number for number, _ in server.shown}) == 2
            server.leave()

    run(body())


def test_a_passing_message_is_shown_though_the_last_one_is_closed_meanwhile(desk: Desk) -> None:
    """If the server is slow and the user closes the old message, the new message is still shown."""

    async def body() -> None:
        server = await FakeServer().take(desk.bus())
        async with notifier(desk) as (shows, heard):
            back = Message("back", "web: connected again", "", passing=True)
            shows.show(back)
            await until(partial(all_shown, shows, server, 1), "shown")
            server.answers.clear()
            shows.show(back)
            await until(lambda: not shows._again, "the second is on its way")
            shows.show(back)
            server.NotificationClosed(1, 2)
            await until(lambda: heard == ["back"], "the first is closed")
            server.answers.set()
            await until(partial(all_shown, shows, server, 3), "the third is shown")
            assert server.closed == []
        server.leave()

    run(body())


class Screen:
    """A fake screen that records messages."""

    problem = None

    def __init__(self) -> None:
        self.titles: list[str] = []

    def show(self, message: Message) -> None:
        """Record the message."""
        self.titles.append(message.title)

    def withdraw(self, key: str) -> None:
        """Do nothing."""


def test_a_message_that_left_with_its_button_is_dismissed_for_one_host_only() -> None:
    """A button serves only the first host. The second host is shown again once the first host's problem is solved."""

    async def body() -> None:
        screen, now, served = Screen(), [0.0], list[str]()
        teller = Dispatcher(lambda: screen, lambda _, m: served.append(m.hosts[0]), clock=lambda: now[0])
        both = view(*(host(name, "needs-sign-in", "auth-denied") for name in "ab"))
        for now[0] in (0.0, 4.0):
            teller.look(both)
        teller.invoked("auth-denied", "login")
        teller.closed("auth-denied")
        teller.look(view(host("a"), host("b", "needs-sign-in", "auth-denied")))
        assert (served, screen.titles) == (["a"], ["a and b: sign-in needed", "b: sign-in needed"])
        teller.close()

    run(body())


@pytest.mark.parametrize("name", ["gnome-shell", "Plasma", "mako", "dunst"])
def test_a_click_on_the_message_is_its_first_action(desk: Desk, name: str) -> None:
    """The first action is also the default action. A message with only Snooze has no default action."""

    async def body() -> None:
        server = await FakeServer(name=name).take(desk.bus())
        async with notifier(desk) as (shows, heard):
            shows.show(SIGN_IN)
            await until(lambda: shows._ids, "shown")
            assert server.shown[0][1][3] == ["default", "Sign in", "sign-in", "Sign in"]
            server.ActionInvoked(1, "default")
            await until(lambda: heard == [("vpn corp", "sign-in")], "the click")
            shows.show(Message("portal", "Sign in", "", actions=(("snooze", "Snooze"),)))
            await until(lambda: len(server.shown) == 2, "shown")
            assert server.shown[1][1][3] == ["snooze", "Snooze"]
            server.ActionInvoked(2, "default")
            server.ActionInvoked(2, "snooze")
            await until(lambda: len(heard) == 2, "the button")
            assert heard[1] == ("portal", "snooze")
        server.leave()

    run(body())


@pytest.mark.parametrize("name", ["Xfce Notify Daemon", "lxqt-notificationd"])
def test_a_server_that_counts_the_click_as_a_button_gets_no_click(desk: Desk, name: str) -> None:
    """xfce4-notifyd would show the first button twice. lxqt-notificationd shows a list instead of four buttons."""

    async def body() -> None:
        server = await FakeServer(name=name).take(desk.bus())
        async with notifier(desk) as (shows, _):
            shows.show(SIGN_IN)
            await until(lambda: shows._ids, "shown")
            assert server.shown[0][1][3] == ["sign-in", "Sign in"]
        server.leave()

    run(body())


def test_a_server_without_buttons_shows_what_to_type(desk: Desk) -> None:
    """Without buttons, the text contains the command of the first button, unless it already does."""

    async def body() -> None:
        server = await FakeServer(can=["body"]).take(desk.bus())
        login = "To log in, type: trayagent login web"
        async with notifier(desk) as (shows, _):
            for number, text in enumerate(("It refuses the key.", "Run trayagent login web.", ""), 1):
                shows.show(Message("k", "web", text, actions=(("login", "Log in"),), by_hand=login))
                await until(lambda number=number: len(server.shown) == number, "shown")  # type: ignore[misc]
            texts = [body[2] for _, body in server.shown]
            assert texts == [f"It refuses the key.\n{login}", "Run trayagent login web.", login]
            assert [body[3] for _, body in server.shown] == [[], [], []]
        server.leave()

    run(body())


@pytest.mark.parametrize(
    ("code", "buttons", "by_hand"),
    [
        ("auth-denied", ["Log in", "Show why", "Snooze"], "To log in, type: trayagent login web"),
        ("host-key-unknown", ["Log in", "Show why", "Snooze"], "To log in, type: trayagent login web"),
        ("host-key-changed", ["Show why", "Snooze"], "To see why, type: trayagent why web"),
        ("config-error", ["Show why", "Snooze"], "To see why, type: trayagent why web"),
    ],
)
def test_a_button_is_called_what_it_does(code: str, buttons: list[str], by_hand: str) -> None:
    """A changed host key offers no login, because a third party may be listening in."""
    [message] = messages([Finding(code, "web", "It is wrong", ("web",))]).values()
    assert [text for _, text in message.actions] == buttons
    assert message.by_hand == by_hand


def test_a_passing_message_is_not_shown_long_afterwards(desk: Desk) -> None:
    """A server that appears later gets only lasting messages, not passing ones from before."""

    async def body() -> None:
        done = Message("done", "Nothing here puts it on the clipboard", "", passing=True)
        async with notifier(desk) as (shows, _):
            shows.show(done)
            await until(lambda: shows._server, "on the bus")
            for message in (done, SIGN_IN):
                shows.show(message)
            await until(lambda: shows.problem and not shows._tasks, "nothing shows them")
            server = await FakeServer().take(desk.environment["DBUS_SESSION_BUS_ADDRESS"])
            await until(lambda: server.shown and not shows._tasks, "shown")
            assert [told[1] for _, told in server.shown] == [SIGN_IN.title]
            server.leave()

    run(body())


def test_a_passing_message_that_is_not_shown_is_reported(desk: Desk) -> None:
    """`not_shown` gets each passing message that no server shows: no bus, no server, a silent one, one that dies."""

    async def body() -> None:
        missing = list[str]()

        def passing(name: str) -> Message:
            return Message(name, name, "", passing=True)

        address = desk.bus()
        async with notifier(desk, late_s=0.02, not_shown=lambda m: missing.append(m.key)) as (shows, _):
            shows.problem = "the session bus is missing"
            shows.show(passing("no bus"))
            assert missing == ["no bus"]
            await until(lambda: shows._server, "on the bus")
            shows.show(passing("no server"))
            shows.show(SIGN_IN)
            await until(lambda: missing == ["no bus", "no server"], "no server")
            server = await FakeServer(answers=False).take(address)
            shows.show(passing("silent"))
            await until(lambda: missing == ["no bus", "no server", "silent"], "silent")
            server.leave()
            await until(lambda: missing[3:] == ["silent"], "dies")
            shows._late_s = LATE_S  # the next server answers at once, but on a busy machine not within 20 ms
            server = await FakeServer().take(address)
            await until(lambda: len(server.shown) == 2, "the lasting message, and the one that waited")
            assert missing[4:] == []
            server.leave()

    run(body())


def test_a_server_that_takes_over_gets_all_messages(desk: Desk) -> None:
    """A server that takes over from another one gets all messages, because it does not know the earlier ones."""

    async def body() -> None:
        address = desk.bus()
        first = await FakeServer(can=["actions"]).take(address)
        async with notifier(desk) as (shows, _):
            shows.show(SIGN_IN)
            await until(lambda: shows._ids, "shown")
            second = await FakeServer(can=[]).take(address)
            await until(lambda: second.shown, "shown again")
            assert second.shown[0][1][3] == []
            second.leave()
        first.leave()

    run(body())


def test_a_button_before_its_message_is_known_and_a_message_that_is_gone_are_fine(desk: Desk) -> None:
    """Signals that arrive before the answer to `Notify`, and messages that the server has forgotten, cause no error."""

    async def body() -> None:
        server = await FakeServer().take(desk.bus())
        server.hasty = "sign-in"
        async with notifier(desk) as (shows, heard):
            shows.show(SIGN_IN)
            await until(lambda: heard == [("vpn corp", "sign-in")], "heard")
            server.shown.clear()
            shows.withdraw("vpn corp")
            await until(lambda: not shows._tasks, "withdrawn")
            assert shows.problem is None
        server.leave()

    run(body())


def test_a_request_at_the_moment_when_the_last_one_ends_is_not_lost() -> None:
    """A request that arrives when the previous task is just ending is not lost."""

    class Quick:
        def __init__(self) -> None:
            self.closed: list[int] = []

        async def notify(self, *_: Any) -> int:
            return 7

        async def close(self, number: int) -> None:
            self.closed.append(number)

    async def body() -> None:
        shows, server = Notifier(lambda *_: None), Quick()
        shows._server = server  # type: ignore[assignment]  # a minimal fake of the server
        shows.show(SIGN_IN)
        task = shows._tasks[SIGN_IN.key]
        await asyncio.sleep(0)
        assert task.done()
        shows.withdraw(SIGN_IN.key)
        await until(lambda: server.closed == [7], "withdrawn")

    run(body())


def test_a_request_while_another_fails_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    """Only the failed request is dropped: a later one is tried, and the error is cleared."""

    class Refusing:
        def __init__(self) -> None:
            self.told: list[str] = []

        async def notify(self, message: Message, _: int) -> int:
            self.told.append(message.title)
            if len(self.told) == 1:
                shows.show(SIGN_IN)
            if len(self.told) != 2:
                raise BusCallError("not today")
            return 7

    async def body() -> None:
        server = Refusing()
        shows._server = server  # type: ignore[assignment]  # a minimal fake of the server
        shows.show(Message(SIGN_IN.key, "first", ""))
        await until(lambda: not shows._tasks, "done")
        assert (server.told, shows.problem) == (["first", SIGN_IN.title], None)
        shows.show(Message(SIGN_IN.key, "last", ""))
        await until(lambda: not shows._tasks, "dropped")
        assert server.told[2:] == ["last"]
        assert "not today" in (shows.problem or "")

    shows = Notifier(lambda *_: None)
    with caplog.at_level(logging.ERROR):
        run(body())


def test_characters_that_the_bus_cannot_carry_are_removed(desk: Desk) -> None:
    """Characters that D-Bus cannot carry are removed, because a message may quote a program's output."""

    async def body() -> None:
        server = await FakeServer().take(desk.bus())
        async with notifier(desk) as (shows, _):
            shows.show(Message("k", "a\0b", "c\udc80d"))
            await until(lambda: server.shown, "shown")
            assert server.shown[0][1][1:3] == ["ab", "c?d"]
        server.leave()

    run(body())


def test_no_server_at_all_is_a_problem_and_a_later_one_shows_it(desk: Desk) -> None:
    """If there is no server, `problem` reports that. A server that appears later gets the message."""

    async def body() -> None:
        address = desk.bus()
        async with notifier(desk) as (shows, _):
            shows.show(SIGN_IN)
            await until(lambda: "was not shown" in (shows.problem or ""), "reported")
            server = await FakeServer().take(address)
            await until(lambda: server.shown, "shown")
            assert shows.problem is None
            server.leave()

    run(body())


def test_the_dispatcher_shows_lasting_problems_and_handles_buttons(desk: Desk) -> None:
    """The button "Log in" is passed on to the agent, and "Snooze" silences the message."""

    async def body() -> None:
        server = await FakeServer().take(desk.bus())
        asked: list[Any] = []
        now = [100.0]
        teller = Dispatcher(
            lambda: shows, lambda action, m: asked.append((action, m.hosts)), clock=lambda: now[0]
        )
        shows = Notifier(teller.invoked, teller.closed)
        bus = SessionBus([shows], addresses=lambda: [desk.environment["DBUS_SESSION_BUS_ADDRESS"]])
        bus.start()
        refused = view(host("web", "needs-sign-in", "auth-denied"))
        teller.look(refused)
        now[0] += 3
        teller.look(refused)
        await until(lambda: shows._ids, "shown")
        assert server.shown[0][1][3] == ["login", "Log in", "why", "Show why", "snooze", "Snooze"]
        server.ActionInvoked(1, "login")
        await until(lambda: asked == [("login", ("web",))], "asked")
        server.ActionInvoked(1, "snooze")
        await until(lambda: server.closed == [1], "withdrawn")
        teller.look(refused)
        await asyncio.sleep(0)
        assert shows._tasks == {}
        teller.close()
        await bus.close()
        server.leave()

    run(body())


def test_the_dispatcher_wakes_up_when_a_message_is_due() -> None:
    """The dispatcher shows a lasting problem when it is due, even if no further view arrives."""

    class Screen:
        problem: str | None = None

        def __init__(self) -> None:
            self.shown: list[str] = []

        def show(self, message: Message) -> None:
            self.shown.append(message.key)

        def withdraw(self, key: str) -> None:
            self.shown.remove(key)

    async def body() -> None:
        screen, skipped = Screen(), [0.0]
        loop = asyncio.get_running_loop()
        teller = Dispatcher(lambda: screen, lambda *_: None, clock=lambda: loop.time() + skipped[0])
        teller.look(view(host("web", "failed", "host-key-changed")))
        assert teller._timer is not None
        assert 0 < teller._timer.when() - loop.time() <= 3.0
        skipped[0] = 3.0
        teller._step()
        assert screen.shown == ["host-key-changed web"]
        teller.set_notify("none")
        assert screen.shown == []
        teller.close()

    run(body())


def test_only_tokens_of_our_own_messages_are_used(desk: Desk) -> None:
    """The server sends each activation token to all clients. The agent ignores tokens for other programs' messages."""

    async def body() -> None:
        server = await FakeServer().take(desk.bus())
        tokens: list[str] = []
        shows = Notifier(lambda *_: None, activation=tokens.append)
        bus = SessionBus([shows], addresses=lambda: [desk.environment["DBUS_SESSION_BUS_ADDRESS"]])
        bus.start()
        shows.show(Message("a", "A", "b"))
        await until(lambda: shows._ids, "shown")
        server.ActivationToken(77, "of another")
        server.ActivationToken(1, "ours")
        await until(lambda: tokens, "heard")
        assert tokens == ["ours"]
        await bus.close()
        server.leave()

    run(body())
