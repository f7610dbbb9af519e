"""The choice of back ends that the machine supports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from trayagent.net import choose_sources, linux_netlink_changes
from trayagent.net.choose_sources import Environment
from trayagent.net.hints import Hint
from trayagent.netlink.errors import NetlinkError


@pytest.mark.parametrize(
    ("env", "sources", "reader"),
    [
        (
            Environment("linux", netlink=True, logind=True),
            ("linux_netlink", "linux_clock", "linux_logind", "networkmanager"),
            "linux_snapshot",
        ),
        (
            Environment("linux", netlink=True, logind=False),
            ("linux_netlink", "linux_clock"),
            "linux_snapshot",
        ),
        (Environment("linux", netlink=False, logind=False), ("polling", "linux_clock"), "polling"),
        (Environment("darwin", netlink=False, logind=False), ("macos_route",), "macos_snapshot"),
        (Environment("freebsd14", netlink=False, logind=False), ("polling",), "polling"),
    ],
    ids=["desktop", "without a bus", "without netlink", "a Mac", "elsewhere"],
)
def test_the_best_that_the_machine_has_is_chosen(
    env: Environment, sources: tuple[str, ...], reader: str
) -> None:
    """Watchers and reader follow from the environment alone, each with a reason."""
    chosen = choose_sources.choose(env)
    assert chosen.sources == sources
    assert chosen.reader == reader
    assert len(chosen.why) == len(sources) + (env.platform == "linux" and not env.logind)


def test_this_machine_is_examined() -> None:
    """These tests run on Linux with netlink."""
    found = choose_sources.look()
    assert found.platform == "linux"
    assert found.netlink


def test_the_chosen_watchers_run_and_stop() -> None:
    """The real watchers start on a loop, and the reader works."""

    async def body() -> None:
        watch = choose_sources.start_sources(
            choose_sources.choose(Environment("linux", netlink=True, logind=False)), lambda _: None
        )
        assert watch.problems == []
        assert len(watch.sources) == 2
        assert watch.read().interface("lo") is not None
        watch.close()

    asyncio.run(body())


def test_a_watcher_that_cannot_start_is_named_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polling replaces a refused netlink socket, and the reason is kept."""

    def refuse(_: object, _hint: Callable[[Hint], None]) -> None:
        raise NetlinkError("opening a netlink socket", 1)

    monkeypatch.setattr(linux_netlink_changes.LinuxNetlink, "start", refuse)

    async def body() -> None:
        watch = choose_sources.start_sources(
            choose_sources.choose(Environment("linux", netlink=True, logind=False)), lambda _: None
        )
        assert [type(s).__name__ for s in watch.sources] == ["Polling", "LinuxClock"]
        assert "linux_netlink" in watch.problems[0]
        watch.close()

    asyncio.run(body())
