"""The parsing of a Mac's arp and ndp. The texts follow the manuals, because no Mac was available."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trayagent.net import macos_snapshot

if TYPE_CHECKING:
    from tests.net.conftest import World

ARP = """\
? (192.168.10.1) at 0:1e:2a:3:4:5 on w ifscope [ethernet]
? (192.168.10.9) at (incomplete) on w ifscope [ethernet]
? (192.168.10.20) at a4:83:e7:0:0:1 on w ifscope permanent [ethernet]
"""
NDP = """\
Neighbor                                Linklayer Address  Netif Expire    St Flgs Prbs
fe80::1%w                               0:1e:2a:3:4:5          w 23h59m58s S  R
fe80::77%w                              (incomplete)           w expired   N
"""


def test_addresses_are_written_as_linux_does() -> None:
    """Each part has two digits, and a neighbour without an answer is left out."""
    assert macos_snapshot.neighbours(ARP) == {
        ("w", "192.168.10.1"): "00:1e:2a:03:04:05",
        ("w", "192.168.10.20"): "a4:83:e7:00:00:01",
    }
    assert macos_snapshot.neighbours(NDP) == {("w", "fe80::1"): "00:1e:2a:03:04:05"}


def test_only_the_gateways_are_named(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only gateways identify the network, and only families with a gateway are queried."""
    for name, text in (("arp", ARP), ("ndp", NDP)):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/{name}.asked\ncat <<'END'\n{text}END\n")
        program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    async def body() -> None:
        world.wires("w")
        assert macos_snapshot.read().gateway_macs == {}
        world.ip("addr add 192.168.10.2/24 dev w", "route add default via 192.168.10.1")
        assert macos_snapshot.read().gateway_macs == {("w", "192.168.10.1"): "00:1e:2a:03:04:05"}

    world.run(body)
    assert (tmp_path / "arp.asked").read_text() == "asked\n"
    assert not (tmp_path / "ndp.asked").exists()
