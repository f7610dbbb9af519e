"""An ssh beside a master: when its loss of an address is proven, and from where its server may be contacted."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, HOME, VPN, Scene, lan, tunnel
from tests.stories.teller import ALWAYS, HOST_KEY, SERVER, Story
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import DialBare, Kill
from trayagent.core.facts.draining import Beside, Draining
from trayagent.core.facts.hosts import Wish
from trayagent.core.facts.user_events import UserPause
from trayagent.core.facts.vpns import Vpn
from trayagent.core.view import AgentFacts, view

INTERNAL = "10.99.0.10"
NAS = "192.168.10.50"
VPN_AGAIN = tunnel("VPN with another address", "tun0", "10.8.0.9/24", "10.99.0.0/24")
HOME_AGAIN = lan("home with another address", "wlan0", "192.168.10.7/24", gateway="192.168.10.1", mac="aa:01")
# A network where another machine may have the address of the one at home.
TWIN = lan("twin", "wlan0", "192.168.10.7/24", gateway="192.168.10.1", mac="bb:01")
OWNER = "me@server:22"


def at(story: Story, scene: Scene) -> None:
    """Begin with an agent that ends dead ssh sessions, on this network."""
    story.network(scene)
    story.post(e.Configured(story.t, {}, end_beside=True))
    story.started()


def found(
    story: Story, *, peer: str, local: str, made_at: float, key: str | None = None, direct: bool = True
) -> str:
    """Report an ssh that was started at `made_at`. Return the name under which the agent judges it.

    `direct` False: `peer` is the first hop, such as a jump host.
    """
    master = story.master(OWNER, peer=peer, local=local, control_path="", host_key=key, direct=direct)
    story.post(e.DrainingFound(story.t, master, Draining(OWNER, made_at, 1, beside=Beside())))
    return f"{OWNER} beside {master.pid}"


def controls(story: Story, name: str) -> list[bool]:
    """Return for each control whether it ends at the banner."""
    return [action.banner for action in story.did(DialBare, name) if isinstance(action, DialBare)]


@pytest.mark.parametrize(("recorded", "banner"), [(None, True), (HOST_KEY, False)])
def test_the_banner_ends_the_control_unless_a_key_is_recorded(
    story: Story, recorded: str | None, banner: bool
) -> None:
    """If the local address is gone, the control ends at the banner, since any SSH server's answer is enough.

    With a recorded host key, the control must prove that key.
    """
    at(story, HOME)
    story.after(60).network(CAFE)
    name = found(story, peer=SERVER, local="192.168.10.2", made_at=30, key=recorded)
    assert controls(story, name) == [banner]
    story.after(0.1).ready(name, bare=True, host_key=None, trusted=False)
    assert not story.did(Kill, name), "the address may return"
    story.after(0.2)
    assert len(story.did(Kill, name)) == 1


def test_an_address_that_returns_ends_the_control(story: Story) -> None:
    """If the address returns before the banner, the late answer proves nothing, and the ssh is kept."""
    at(story, HOME)
    story.after(60).network(CAFE)
    name = found(story, peer=SERVER, local="192.168.10.2", made_at=30)
    number = story.host(name).attempt
    assert number is not None
    story.after(0.1).network(HOME)
    story.after(0.1).post(e.AttemptReady(story.t, name, number.id, None))
    story.after(3600)
    assert not story.did(Kill, name)


@pytest.mark.parametrize(
    ("first", "next_", "peer", "local", "times"),
    [
        (HOME + VPN, HOME + VPN_AGAIN, INTERNAL, "10.8.0.6", 1),
        (HOME, HOME_AGAIN, NAS, "192.168.10.2", 1),
        (HOME, TWIN, NAS, "192.168.10.2", 0),
        (HOME, CAFE + VPN_AGAIN, NAS, "192.168.10.2", 0),
        (HOME + VPN, CAFE, INTERNAL, "10.8.0.6", 0),
    ],
    ids=["the VPN again", "home again", "twin", "another network", "without the VPN"],
)
def test_a_private_server_is_contacted_only_on_the_network_of_its_connection(
    story: Story, first: Scene, next_: Scene, peer: str, local: str, times: int
) -> None:
    """The server of an ssh beside a master may have a private address.

    The agent contacts it only on the network on which the connection was made.
    """
    at(story, first)
    story.after(60).network(CAFE)
    name = found(story, peer=peer, local=local, made_at=30)
    assert controls(story, name) == []
    story.after(60).network(next_)
    story.after(3600)
    assert controls(story, name)[:1] == [True] * times


def test_an_ssh_behind_a_jump_host_ends_once_the_jump_host_answers(story: Story) -> None:
    """The local address of its transport is gone. So the banner of the first hop is enough, as for a direct ssh."""
    at(story, HOME)
    story.after(60).network(CAFE)
    name = found(story, peer=SERVER, local="192.168.10.2", made_at=30, direct=False)
    assert controls(story, name) == [True]
    story.after(0.1).ready(name, bare=True, host_key=None, trusted=False)
    story.after(0.2)
    assert len(story.did(Kill, name)) == 1


@pytest.mark.parametrize(("peer", "times", "ends"), [(NAS, 0, "cannot"), (SERVER, 1, "when-proven")])
def test_a_private_first_hop_is_not_contacted_where_only_the_host_behind_it_was_reached(
    story: Story, peer: str, times: int, ends: str
) -> None:
    """The networks on which a host was reached say nothing about a jump host. The view says what cannot be proven."""
    story.connected(scene=CAFE)
    story.post(e.Configured(story.t, {"web": ALWAYS}, end_beside=True))
    master = story.master("web", peer=peer, local="192.168.10.2", control_path="", direct=False)
    story.after(60).post(e.DrainingFound(story.t, master, Draining("web", -1e6, 1, beside=Beside())))
    assert len(controls(story, f"web beside {master.pid}")) == times
    (host,) = view(story.state, AgentFacts("0", 1, ""), {}, str, story.t)["hosts"]
    assert [(one["stale"], one["signal"], one["agent_ends"]) for one in host["beside"]] == [
        (True, "HUP", ends)
    ]


def test_a_network_from_before_a_wake_or_from_too_long_ago_is_unknown(story: Story) -> None:
    """After a wake, the age of an ssh does not show on which network it connected.

    The agent also forgets networks after several changes.
    """
    at(story, HOME + VPN)
    story.after(60).post(e.Woke(story.t, 3600.0), "woke")
    story.network(CAFE)
    woken = found(story, peer=INTERNAL, local="10.8.0.6", made_at=30)
    story.after(60).network(HOME + VPN)
    since = story.t
    for number in range(20):
        story.after(60).network(replace(CAFE, label=f"café {number}") if number % 2 else HOME)
    old = found(story, peer=INTERNAL, local="10.8.0.6", made_at=since + 30)
    story.after(60).network(HOME + VPN_AGAIN)
    story.after(60)
    assert controls(story, woken) == controls(story, old) == []


JUMP, DB = "203.0.113.11", "203.0.113.12"
LIMITED = {
    "networks": Wish(listed=True, networks=("home",)),
    "vpn": Wish(listed=True, vpn="corp"),
    "never": Wish(listed=True, connect="never"),
}


@pytest.mark.parametrize("limit", LIMITED)
@pytest.mark.parametrize(
    ("owner", "names", "peer", "contacted"),
    [
        ("web", {"web"}, SERVER, True),
        ("web", {"web", "jump"}, JUMP, True),
        (OWNER, {"server"}, "203.0.113.99", True),
        ("db", {"db"}, DB, False),
        (OWNER, {"alias-of-db"}, DB, False),
        ("web", {"web"}, DB, False),
        ("db", {"db", "jump"}, JUMP, False),
        (OWNER, {"203.0.113.12", "jump"}, JUMP, False),
        (OWNER, {"server", "db"}, "203.0.113.99", False),
    ],
)
def test_the_limits_of_each_host_apply_to_which_an_ssh_may_be_connected(
    story: Story, limit: str, owner: str, names: set[str], peer: str, contacted: bool
) -> None:
    """An ssh to another server is contacted and ended, one that may be connected to the limited host is neither."""
    vpns = (Vpn("corp", interface="tun*"),)
    story.network(HOME)
    wishes = {"web": Wish(listed=True), "db": LIMITED[limit]}
    story.post(e.Configured(story.t, wishes, vpns, end_beside=True))
    story.resolved("web")
    story.resolved("db", server=DB)
    story.started()
    story.after(60).network(CAFE)
    direct = peer != JUMP
    beside = Beside(named=owner != OWNER, names=frozenset(names))
    master = story.master(owner, peer=peer, local="192.168.10.2", control_path="", direct=direct)
    story.post(e.DrainingFound(story.t, master, Draining(owner, 30, 1, beside=beside)))
    name = f"{owner} beside {master.pid}"
    assert controls(story, name) == [True] * contacted
    if contacted:
        story.after(0.1).ready(name, bare=True, host_key=None, trusted=False)
    story.after(3600)
    assert len(story.did(Kill, name)) == contacted


def test_a_limit_that_is_set_later_applies_at_once(story: Story) -> None:
    """The limits are those of the present configuration, not of the time when the ssh was found."""
    at(story, HOME)
    name = found(story, peer=DB, local="192.168.10.2", made_at=-30)
    story.after(60).post(e.Configured(story.t, {"db": LIMITED["networks"]}, end_beside=True))
    story.resolved("db", server=DB)
    story.network(CAFE)
    story.after(3600)
    assert controls(story, name) == []


def shown(story: Story) -> list[tuple[str, str | None]]:
    """Return for each ssh beside a master whether the agent ends it, and why not."""
    hosts = view(story.state, AgentFacts("0", 1, ""), {}, str, story.t)["hosts"]
    return [(one["agent_ends"], one["why_not"]) for host in hosts for one in host["beside"]]


@pytest.mark.parametrize("limit", LIMITED)
def test_the_view_says_which_limit_keeps_the_agent_from_ending_an_ssh(story: Story, limit: str) -> None:
    """It promises no end where `networks`, `vpn` or `never` of the host forbid it."""
    story.network(HOME)
    story.post(
        e.Configured(story.t, {OWNER: LIMITED[limit]}, (Vpn("corp", interface="tun*"),), end_beside=True)
    )
    story.started()
    found(story, peer=SERVER, local="192.168.10.2", made_at=-30)
    story.after(60).network(CAFE)
    assert shown(story) == [("cannot", limit)]


def test_the_view_promises_no_end_during_a_pause(story: Story) -> None:
    """The agent ends the ssh after the pause."""
    at(story, HOME)
    story.post(e.Configured(story.t, {OWNER: Wish(listed=True)}, end_beside=True))
    name = found(story, peer=SERVER, local="192.168.10.2", made_at=-30)
    story.post(UserPause(story.t, (), 300.0))
    story.after(60).network(CAFE)
    assert shown(story) == [("cannot", "paused")]
    assert controls(story, name) == []
    story.after(300)
    assert shown(story) == [("when-proven", None)]
    assert controls(story, name) == [True]


def test_a_suspended_ssh_is_ended_only_once_it_continues(story: Story) -> None:
    """A suspended ssh could not restore its terminal, and a frozen one would die when its address may be back."""
    at(story, HOME)
    story.post(e.Configured(story.t, {OWNER: Wish(listed=True)}, end_beside=True))
    name = found(story, peer=SERVER, local="192.168.10.2", made_at=-30)
    story.stopped.add(name)
    story.after(60).network(CAFE)
    story.after(3600)
    assert shown(story) == [("cannot", "suspended")]
    assert controls(story, name) == []
    story.stopped.clear()
    story.after(5)
    assert shown(story) == [("when-proven", None)]
    story.ready(name, bare=True, host_key=None, trusted=False)
    assert len(story.did(Kill, name)) == 1


def test_an_ssh_that_is_suspended_during_the_control_is_not_ended(story: Story) -> None:
    """The agent reads again whether it is suspended just before it would end it."""
    at(story, HOME)
    name = found(story, peer=SERVER, local="192.168.10.2", made_at=-30)
    story.after(60).network(CAFE)
    story.stopped.add(name)
    story.after(1).ready(name, bare=True, host_key=None, trusted=False)
    story.after(60).network(HOME)
    story.stopped.clear()
    story.after(60)
    assert controls(story, name) == [True]
    assert not story.did(Kill, name)
