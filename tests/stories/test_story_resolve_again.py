"""When `ssh -G` runs again: before a login on another network, with name lookups only where they are allowed."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, CAFE_2, HOME, HOME_6, NOTHING, VPN, Scene
from tests.stories.teller import ALWAYS, SERVER, Story, failure
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import Dial, Resolve
from trayagent.core.facts.hosts import Hop, Wish
from trayagent.core.facts.network import Touched
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.vpns import Vpn

CORP = Vpn("corp", "tun*")
LINK = Touched(links=frozenset({"wlan0"}))


def answered(
    story: Story,
    name: str = "web",
    *,
    server: str = SERVER,
    varies: bool = False,
    lookups_allowed: bool = True,
) -> None:
    """Post a result of `ssh -G` from this moment."""
    answer = Resolved(name, server, control_path=f"/cm/{name}")
    said = e.HostResolved(story.t, name, answer, Hop(server, 22), story.t, varies, lookups_allowed)
    story.post(said, f"ssh -G {name}")


def asked(story: Story, name: str = "web") -> list[bool]:
    """Return for each requested run of `ssh -G` whether name lookups were allowed."""
    return [x.lookups for x in story.did(Resolve, name) if isinstance(x, Resolve)]


def connected(story: Story, scene: Scene = HOME) -> None:
    """Begin with a connected host for which `ssh -G` differs between networks."""
    story.connected(scene=scene)
    answered(story, varies=True)
    story.forget()


@pytest.mark.parametrize(
    ("wish", "scene", "vpn"),
    [
        (Wish(listed=True, connect="always", vpn="corp"), CAFE, (CORP,)),
        (Wish(listed=True, connect="always", networks=("Home*",)), CAFE.named("Airport"), ()),
    ],
    ids=["vpn", "networks"],
)
def test_no_name_is_looked_up_where_a_host_may_not_be_connected(
    story: Story, wish: Wish, scene: Scene, vpn: tuple[Vpn, ...]
) -> None:
    """`ssh -G` first runs without name lookups. When the host may be connected, it runs with them before the login."""
    story.network(scene)
    story.configured(vpns=vpn, db=wish)
    answered(story, "db", lookups_allowed=False)
    story.started()
    story.after(60)
    assert asked(story, "db") == [False]
    story.network(HOME.named("Home 5G") + VPN)
    assert set(asked(story, "db")[1:]) == {True}
    assert not story.did(Dial, "db"), "a login before ssh said where to"
    answered(story, "db", server="db.corp.example")
    assert story.did(Dial, "db")
    assert story.host("db").resolved == Resolved("db", "db.corp.example", control_path="/cm/db")


def test_a_flapping_network_runs_no_ssh_g(story: Story) -> None:
    """Ten losses of the network, with a gateway that is resolved late, keep the connection and run no `ssh -G`."""
    connected(story)
    for _ in range(10):
        story.after(1).network(NOTHING, LINK)
        story.after(1).network(HOME.without_mac(), LINK)
        story.after(0.05).network(HOME, LINK)
        if story.host("web").doubt.probe is not None:
            story.after(0.05).answered("web")
    assert asked(story) == []


def test_ssh_g_runs_once_before_each_login_elsewhere(story: Story) -> None:
    """From home to two cafés, `ssh -G` runs once before each login.

    Later events about the network cause no further run.
    """
    connected(story)
    for scene in (CAFE, CAFE_2):
        story.forget()
        story.after(60).network(scene.without_mac(), LINK)
        assert set(asked(story)) == {True}
        assert not story.did(Dial)
        answered(story, varies=True)
        assert len(story.did(Dial)) == 1
        story.after(0.05).network(scene)
        story.after(0.5).reconnected()


def test_a_result_that_does_not_vary_holds_everywhere(story: Story) -> None:
    """If no part of ssh_config depends on the network, a login needs no new run of `ssh -G`."""
    story.connected()
    answered(story)
    story.forget()
    story.after(60).network(CAFE, LINK)
    assert asked(story) == []
    assert story.did(Dial)


def test_a_result_from_before_a_change_is_requested_again(story: Story) -> None:
    """A result whose run began before the last change of the network is not used."""
    connected(story)
    story.after(60).network(CAFE, LINK)
    late = e.HostResolved(
        story.t + 1, "web", Resolved("web", SERVER, control_path="/cm/web"), Hop(SERVER, 22), story.t, True
    )
    story.after(0.5).network(CAFE_2, LINK)
    story.after(0.5).post(late, "a late answer")
    assert not story.did(Dial)
    answered(story, varies=True)
    assert story.did(Dial)


def test_a_failed_run_of_ssh_g_is_not_repeated_before_the_login(story: Story) -> None:
    """After one failed run, as with a slow Match exec, the login uses the last result."""
    connected(story)
    story.after(60).network(CAFE, LINK)
    story.post(e.ResolveFailed(story.t, "web", failure("config")), "ssh -G failed")
    assert set(asked(story)) == {True}
    assert story.did(Dial)


def test_a_host_that_stopped_is_resolved_again_on_another_network(story: Story) -> None:
    """A stopped host is resolved again on another network, where ssh_config may give another user.

    A flap does not count.
    """
    story.network(HOME)
    story.configured(web=ALWAYS)
    answered(story, varies=True)
    story.started()
    story.fails("web", "auth")
    story.forget()
    story.after(60).network(NOTHING, LINK)
    story.after(1).network(HOME, LINK)
    assert asked(story) == []
    story.after(1).network(CAFE, LINK)
    assert set(asked(story)) == {True}
    answered(story, server="203.0.113.11", varies=True)
    story.after(600)
    assert story.did(Dial)


def test_a_gateway_that_is_resolved_late_identifies_the_network_of_a_result(story: Story) -> None:
    """A gateway that is resolved late still identifies the network of the result.

    Otherwise a host that stopped in a café would not be resolved again at home.
    """
    story.network(CAFE.without_mac())
    story.configured(web=ALWAYS)
    answered(story, varies=True)
    story.started()
    story.fails("web", "auth")
    story.after(0.1).network(CAFE)
    story.forget()
    story.after(60).network(HOME, LINK)
    assert set(asked(story)) == {True}


def test_an_old_result_excludes_no_network(story: Story) -> None:
    """At home the result was an IPv6 address. On a network without a route to it, `ssh -G` runs again."""
    story.network(HOME_6)
    story.configured(web=ALWAYS)
    answered(story, server="2001:db8:113::10", varies=True)
    story.started()
    story.fails("web", "timed-out")
    story.forget()
    story.after(0.5).network(CAFE, LINK)
    story.after(1)
    assert set(asked(story)) == {True}
    assert not story.did(Dial)
    answered(story, varies=True)
    assert story.did(Dial)


def test_a_result_without_a_route_here_is_not_requested_again(story: Story) -> None:
    """If the result of this network has no route, the host waits and `ssh -G` is not repeated."""
    story.network(CAFE)
    story.configured(web=ALWAYS)
    answered(story, server="2001:db8:113::10", varies=True)
    story.started()
    story.forget()
    story.after(3600)
    assert asked(story) == []
    assert story.problem("web") == "unreachable"


def test_a_result_without_look_ups_is_no_new_configuration(story: Story) -> None:
    """A result of `ssh -G` without name lookups is no new configuration, so no refused login is repeated."""
    wish = Wish(listed=True, connect="always", vpn="corp")
    story.network(HOME + VPN)
    story.configured(vpns=(CORP,), db=wish)
    answered(story, "db", server="db.corp.example")
    story.started()
    story.fails("db", "auth")
    story.forget()
    story.network(HOME)
    answered(story, "db", server="db", lookups_allowed=False)
    story.network(HOME + VPN)
    answered(story, "db", server="db.corp.example")
    story.after(3600)
    assert not story.did(Dial, "db")
