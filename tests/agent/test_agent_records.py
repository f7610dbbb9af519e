from __future__ import annotations

import stat
import time
from pathlib import Path

from msgspec.structs import replace

from trayagent.agent.state.host_records import networks_of, remembered
from trayagent.agent.state.record_types import KeptRoaming
from trayagent.agent.state.records import Records
from trayagent.core.facts.hosts import Host, Reached, UserRequests, Wish
from trayagent.core.facts.masters import Master
from trayagent.core.facts.network import Network

MASTER = Master(pid=42, start_ticks=7, control_path="/run/cm", started_by_agent=True)


def test_a_master_is_known_again_by_pid_and_start_time(tmp_path: Path) -> None:
    """The next agent recognizes a master by pid and start time, so that it does not recognize a recycled pid."""
    Records(tmp_path / "r.json").add_master(MASTER, "web01", ["local 1:a:2"])
    later = Records(tmp_path / "r.json")
    assert later.is_started_by_agent(42, 7)
    assert later.host_of(42, 7) == "web01"
    assert later.opened(42, 7) == ["local 1:a:2"]
    assert not later.is_started_by_agent(42, 8)
    assert later.host_of(43, 7) is None


def test_what_was_learned_of_a_host_survives(tmp_path: Path) -> None:
    """The disconnected state, networks, addresses and the learned VPN of a host survive a restart."""
    wish = Wish(listed=True, vpn="corp", networks=("Home*",))
    host = Host(
        "web01",
        wish,
        user=UserRequests(held=True),
        reached=Reached(learned_vpn="tun0"),
        addresses=("192.0.2.1",),
    )
    host = replace(
        host,
        reached=replace(
            host.reached, networks=frozenset({Network("wlan0", "aa:bb", "Home"), Network("eth0", "cc:dd")})
        ),
    )
    Records(tmp_path / "r.json").remember(host, time.monotonic())
    kept = Records(tmp_path / "r.json").hosts()["web01"]
    assert kept.held is True
    assert kept.learned_vpn == "tun0"
    assert networks_of(kept) == host.reached.networks
    told = remembered("web01", kept, time.monotonic())
    assert (told.vpn, told.networks) == ("corp", ("Home*",))


def test_a_connection_that_roams_survives(tmp_path: Path) -> None:
    """The next agent knows the token, the relays and the inner master, and does not adopt the inner master."""
    token = f"{'0123456789abcdef'}.{'0123456789abcdef' * 2}"
    records = Records(tmp_path / "r.json")
    kept = KeptRoaming("web01", token, "near", records.boot, "/run/cm", machine="m", far_boot="b")
    records.set_roaming(kept)
    assert Records(tmp_path / "r.json").roaming() == {token[:16]: kept}
    assert records.inner_pids() == set()
    kept.inner, kept.start, kept.outer_path = 42, 7, "/run/cm.1"
    records.set_roaming(kept)
    assert Records(tmp_path / "r.json").inner_pids() == {42}
    records.drop_roaming(token[:16])
    assert Records(tmp_path / "r.json").roaming() == {}


def test_a_token_that_is_none_is_dropped(tmp_path: Path) -> None:
    """A damaged token is never used in a command line."""
    records = Records(tmp_path / "r.json")
    records.set_roaming(KeptRoaming("web01", "0; reboot", "near", records.boot, "/run/cm"))
    assert Records(tmp_path / "r.json").roaming() == {}


def test_the_file_is_private(tmp_path: Path) -> None:
    """The file reveals where the user has been, so its mode is 0600."""
    Records(tmp_path / "r.json").add_master(MASTER, "web01", [])
    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == 0o600
