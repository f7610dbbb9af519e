"""A laptop that sleeps and wakes, as logind reports it: the agent keeps living masters and replaces dead ones."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from tests.lab.matrix import HOST, Up, alive, bring_up, need, until
from trayagent.sandbox import Agent, Lab

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen>
<policy context="default"><allow user="*"/><allow own="*"/>
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy></busconfig>"""


class Logind:
    """A minimal logind on its own system bus, which only sends PrepareForSleep."""

    def __init__(self, folder: Path) -> None:
        self.address = f"unix:path={folder / 'bus'}"
        config = folder / "bus.conf"
        config.write_text(CONFIG.format(path=folder / "bus"))
        words = ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--print-address"]
        self._daemon = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self._daemon.stdout
        assert self._daemon.stdout.readline(), "the bus did not start"

    def prepare_for_sleep(self, start: bool) -> None:
        """Announce a suspend, or its end."""
        asyncio.run(self._say(start))

    async def _say(self, start: bool) -> None:
        bus = await MessageBus(self.address).connect()
        await bus.request_name("org.freedesktop.login1")
        path, interface = "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
        await bus.send(Message.new_signal(path, interface, "PrepareForSleep", "b", [start]))
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # dbus-fast has no type for it

    def close(self) -> None:
        """End the bus."""
        self._daemon.kill()
        self._daemon.wait(10.0)
        assert self._daemon.stdout
        self._daemon.stdout.close()


@pytest.fixture
def logind(lab: Lab, agent: Agent) -> Iterator[Logind]:
    """Run a fake logind on a bus that the agent uses as the system bus."""
    need(shutil.which("dbus-daemon"), "dbus-daemon")
    folder = lab.files.root / "bus"
    folder.mkdir(mode=0o700)
    made = Logind(folder)
    agent.env["DBUS_SYSTEM_BUS_ADDRESS"] = made.address
    yield made
    made.close()


def fall_asleep(up: Up, logind: Logind) -> None:
    """Announce the sleep, take the link away, and stop all processes, as a closed lid does."""

    def heard() -> bool:
        logind.prepare_for_sleep(True)
        return "about to sleep" in (up.agent.state_dir / "agent.log").read_text()

    until("the agent hears logind", heard)
    up.lab.suspend()
    up.lab.link_down()


def wake_up(up: Up, logind: Logind) -> None:
    """Continue all processes, and announce the wake-up."""
    up.lab.resume()
    logind.prepare_for_sleep(False)


@pytest.mark.parametrize("link_first", [True, False])
def test_a_wake_on_the_same_network_keeps_the_master(
    lab: Lab, agent: Agent, logind: Logind, link_first: bool
) -> None:
    """The link returns before the wake or some time after it. The old connection answers, so it is kept."""
    up = bring_up(lab, agent)
    fall_asleep(up, logind)
    time.sleep(2.0)  # the length of the sleep
    if link_first:
        lab.link_up()
    wake_up(up, logind)
    up.events.wait("resumed")
    if not link_first:
        agent.wait_state(HOST, "offline")
        lab.link_up()
    up.assert_kept(proven=True)


def test_a_wake_without_any_change_of_network_keeps_the_master(
    lab: Lab, agent: Agent, logind: Logind
) -> None:
    """After a sleep the agent suspects every master. It starts a control, then probes the master, and keeps it."""
    up = bring_up(lab, agent)
    fall_asleep(up, logind)
    lab.link_up()
    wake_up(up, logind)
    up.assert_kept(proven=True)
    assert {"resumed", "connecting"} <= {e["event"] for e in up.events.seen}, "the control comes first"


def test_a_wake_on_another_network_brings_a_new_master(lab: Lab, agent: Agent, logind: Logind) -> None:
    """If the lid is opened in the café, the agent proves the old master stale and connects a new one."""
    up = bring_up(lab, agent)
    fall_asleep(up, logind)
    t0 = lab.switch("home", "cafe")
    wake_up(up, logind)
    up.events.wait("master-stale", HOST)
    up.events.wait("connected", HOST)
    print(f"back {time.monotonic() - t0:.1f} s after the wake")  # noqa: T201  # shown by pytest -s
    after = agent.wait_state(HOST, "connected")
    assert after["pid"] != up.pid
    assert not alive(up.pid)
    assert after["recoveries"] == 1
