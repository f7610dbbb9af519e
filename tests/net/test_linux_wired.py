"""Which interfaces are certainly cables."""

from __future__ import annotations

from pathlib import Path

import pytest

from trayagent.net import linux_wired
from trayagent.netlink.rtnetlink import Link


@pytest.fixture
def sys_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in the place of /sys/class/net."""
    monkeypatch.setattr(linux_wired, "_SYS_NET", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("driver", "kind", "wired"),
    [
        ("e1000e", "", True),
        ("r8152", "", True),
        ("iwlwifi", "DEVTYPE=wlan\n", False),
        ("rndis_host", "", False),
        ("ipheth", "", False),
        ("qmi_wwan", "DEVTYPE=wwan\n", False),
    ],
)
def test_a_cable_has_a_driver_of_no_phone(sys_net: Path, driver: str, kind: str, wired: bool) -> None:
    """A network card is a cable, unless it is a Wi-Fi, or its driver is that of phones or modems."""
    device = sys_net / "net0" / "device"
    device.mkdir(parents=True)
    (device / "driver").symlink_to(f"../../bus/drivers/{driver}")
    (sys_net / "net0" / "uevent").write_text(f"{kind}INTERFACE=net0\nIFINDEX=2\n")
    assert linux_wired.is_wired(Link(2, "net0", 0, 1, bus_device="1-1")) is wired


@pytest.mark.parametrize(
    ("link", "wired"),
    [
        (Link(2, "eth0", 0, 1, kind="veth"), True),
        (Link(2, "br0", 0, 1, kind="bridge"), False),
        (Link(2, "wwan0", 0, 0xFFFE), False),
        (Link(2, "gone", 0, 1), False),
    ],
)
def test_what_is_not_certain_is_no_cable(sys_net: Path, link: Link, wired: bool) -> None:
    """A bridge may have a Wi-Fi below, and a modem has no Ethernet frames. The wire of a container is a cable."""
    assert sys_net.is_dir()
    assert linux_wired.is_wired(link) is wired
