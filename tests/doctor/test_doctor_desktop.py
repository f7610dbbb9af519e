"""The findings about the session bus (panel, notifications) and the system bus (logind, NetworkManager)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.desktop.desk import BUS_XML, Desk
from tests.desktop.desk import desk as make_desk
from tests.desktop.desk import tool as desktop_tool
from tests.doctor.patient import Patient, Report, until

NAMES = """
import asyncio, sys
from dbus_fast import BusType
from dbus_fast.aio import MessageBus
async def own(address, *names):
    bus = await MessageBus(address).connect()
    for name in names:
        await bus.request_name(name)
    print("owned", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(own(*sys.argv[1:]))
"""

# A user manager that knows a display.
MANAGER = """
import asyncio, sys
from dbus_fast import PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_property
class Manager(ServiceInterface):
    @dbus_property(access=PropertyAccess.READ)
    def Environment(self) -> "as":
        return ["LANG=C.UTF-8", "WAYLAND_DISPLAY=wayland-0"]
async def own(address):
    bus = await MessageBus(address).connect()
    bus.export("/org/freedesktop/systemd1", Manager("org.freedesktop.systemd1.Manager"))
    await bus.request_name("org.freedesktop.systemd1")
    print("owned", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(own(sys.argv[1]))
"""


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Make a private desktop with a bus and no other program."""
    with make_desk() as made:
        made.bus()
        yield made


def with_session(patient: Patient, desk: Desk, display: str = ":99") -> Report:
    """Examine with the session bus of this desktop."""
    return patient.examine(
        DBUS_SESSION_BUS_ADDRESS=desk.environment["DBUS_SESSION_BUS_ADDRESS"], DISPLAY=display
    )


def with_names(patient: Patient, address: str, *names: str) -> Report:
    """Examine while a process owns these names on the bus that serves as the system bus."""
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", NAMES, address, *names]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "owned\n"
        report = patient.examine(DBUS_SYSTEM_BUS_ADDRESS=address)
        child.stdin.close()
    return report


def test_no_desktop_is_no_finding(patient: Patient) -> None:
    """A machine without a desktop gets no advice about one."""
    assert "without an icon" in patient.examine().well("desktop")["title"]


def test_a_display_without_a_bus_is_reported(patient: Patient) -> None:
    """With a display but without a session bus, the advice is to start one."""
    found = patient.examine(DISPLAY=":99").one("no-session-bus", "advice", "desktop")
    assert found["lines"] == ["dbus-run-session trayagent run"]


def test_a_session_bus_that_is_gone_is_reported(patient: Patient) -> None:
    """The finding says that the bus's socket does not exist."""
    report = patient.examine(DBUS_SESSION_BUS_ADDRESS=f"unix:path={patient.folder}/gone")
    assert "No such file" in report.one("no-session-bus", "advice", "desktop")["title"]


def test_a_missing_panel_and_a_missing_notification_daemon_are_reported(patient: Patient, desk: Desk) -> None:
    """A missing panel and a missing notification daemon are separate findings.

    With notify = "none", the daemon is not needed.
    """
    report = with_session(patient, desk)
    assert "no panel here shows tray icons" in report.one("no-tray", "advice", "desktop")["title"]
    report.one("no-notifications", "advice", "desktop")
    patient.configure('[agent]\nnotify = "none"\n[hosts.box]\n')
    assert "no-notifications" not in with_session(patient, desk).ailing


def test_the_bus_of_a_login_over_ssh_is_no_desktop(patient: Patient, desk: Desk) -> None:
    """Systemd's user manager starts a session bus for each login. It knows whether there is a display."""
    assert "without an icon" in with_session(patient, desk, display="").well("desktop")["title"]
    manager = [sys.executable, "-c", MANAGER, desk.environment["DBUS_SESSION_BUS_ADDRESS"]]
    with subprocess.Popen(manager, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "owned\n"
        with_session(patient, desk, display="").one("no-tray", "advice", "desktop")
        child.stdin.close()


def test_a_real_panel_and_a_real_notification_daemon_are_detected(patient: Patient, desk: Desk) -> None:
    """A real panel and daemon are reported, the daemon with its name and whether it supports buttons."""
    desk.screen()
    desk.panel()
    desk.start(desktop_tool("dunst"))

    def well() -> bool:
        return not {"no-tray", "no-notifications"} & with_session(patient, desk).ailing

    until("panel and daemon are there", well)
    told = [f["title"] for f in with_session(patient, desk).findings if f["topic"] == "desktop"]
    assert told[0] == "a panel shows the icon"
    assert told[1].startswith("notifications by dunst")
    assert told[1].endswith("with buttons")


def test_a_notification_daemon_that_the_bus_starts_is_no_finding(patient: Patient, desk: Desk) -> None:
    """A notification daemon that the bus starts on demand is no finding, because the first message would start it."""
    desk.screen()
    services = desk.folder / "services"
    services.mkdir()
    (services / "n.service").write_text(
        f"[D-BUS Service]\nName=org.freedesktop.Notifications\nExec={desktop_tool('dunst')}\n"
    )
    place = desk.folder / "other-bus"
    config = desk.folder / "other.conf"
    config.write_text(
        BUS_XML.format(place=place).replace("<listen>", f"<servicedir>{services}</servicedir><listen>")
    )
    desk.start(desktop_tool("dbus-daemon"), f"--config-file={config}", "--nofork", "--nopidfile")
    until("the bus listens", place.exists)
    report = patient.examine(DBUS_SESSION_BUS_ADDRESS=f"unix:path={place}")
    assert "no-notifications" not in report.ailing


def test_the_sources_of_network_changes_are_listed(patient: Patient, desk: Desk) -> None:
    """The finding lists the missing sources, and says that a wake is noticed later without logind."""
    address = desk.environment["DBUS_SESSION_BUS_ADDRESS"]
    without = patient.examine(DBUS_SYSTEM_BUS_ADDRESS=address).well("network")
    assert "not here: logind and NetworkManager" in without["title"]
    assert "wake" in without["why"]
    names = ("org.freedesktop.login1", "org.freedesktop.NetworkManager")
    found = with_names(patient, address, *names).well("network")
    assert (found["title"], found["why"]) == ("the kernel, logind, NetworkManager", "")


def test_a_system_bus_that_is_gone_is_reported(patient: Patient) -> None:
    """The finding is advice, because the agent then detects suspends by the clock."""
    report = patient.examine(DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={patient.folder}/gone")
    report.one("no-system-bus", "advice", "network")


def test_a_vpn_whose_state_is_unknown_is_a_problem(patient: Patient, desk: Desk) -> None:
    """Without NetworkManager the state is unknown; with `interface` set, only the sign-in is missing."""
    env = {"DBUS_SYSTEM_BUS_ADDRESS": desk.environment["DBUS_SESSION_BUS_ADDRESS"]}
    patient.configure('[vpns.corp]\nnetworkmanager = "Corp"\n')
    patient.examine(**env).one("networkmanager-missing", "problem", "VPNs")
    patient.configure('[vpns.corp]\nnetworkmanager = "Corp"\ninterface = "tun*"\n')
    patient.examine(**env).one("networkmanager-missing", "advice", "VPNs")


def test_a_vpn_without_a_sign_in_is_reported(patient: Patient) -> None:
    """For a VPN without a sign-in command, the advice says that the notification would have no button."""
    patient.configure('[vpns.corp]\ninterface = "tun*"\n')
    patient.examine().one("sign-in-none", "advice", "VPNs")


def test_a_sign_in_that_cannot_be_started_is_a_problem_and_its_words_stay_secret(patient: Patient) -> None:
    """If a sign-in cannot be started, only its program is printed, because its arguments may contain a password."""
    patient.configure('[vpns.corp]\ninterface = "tun*"\nsign_in = ["no-such-vpn", "--password=hunter2"]\n')
    found = patient.examine().one("sign-in-missing", "problem", "VPNs")
    assert "no-such-vpn" in found["title"]
    done = patient.command("doctor")
    assert "hunter2" not in done.stdout + done.stderr + str(found)
    patient.configure('[vpns.corp]\ninterface = "tun*"\nsign_in = ["sh"]\n')
    assert patient.examine().well("VPNs")["title"] == "corp: their state is known"
