"""When `ssh -G` runs again: before a login at another network, and with look-ups only where those are allowed."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, CAFE_2, HOME, HOME_6, NOTHING, VPN, Scene
from tests.stories.teller import ALWAYS, SERVER, Story, failure
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import Dial, Resolve
from trayagent.core.facts.hosts import Hop, Wish
from trayagent.core.facts.network import Touched
from trayagent.core.facts.resolved import Resolved

CORP = e.Vpn("corp", "tun*")
LINK = Touched(links=frozenset({"wlan0"}))


def answered(
    story: Story, name: str = "web", *, server: str = SERVER, varies: bool = False, looked_up: bool = True
) -> None:
    """Let `ssh -G` answer, asked just now."""
    answer = Resolved(name, server, control_path=f"/cm/{name}")
    said = e.HostResolved(story.t, name, answer, Hop(server, 22), story.t, varies, looked_up)
    story.post(said, f"ssh -G {name}")


def asked(story: Story, name: str = "web") -> list[bool]:
    """Return whether look-ups were allowed, for each time that `ssh -G` was to run."""
    return [x.lookups for x in story.did(Resolve, name) if isinstance(x, Resolve)]


def connected(story: Story, scene: Scene = HOME) -> None:
    """Begin with a connected host for which ssh says something else at each network."""
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
    story: Story, wish: Wish, scene: Scene, vpn: tuple[e.Vpn, ...]
) -> None:
    """First without look-ups; with them, and before the login, as soon as the host may be connected."""
    story.network(scene)
    story.configured(vpns=vpn, db=wish)
    answered(story, "db", looked_up=False)
    story.started()
    story.after(60)
    assert asked(story, "db") == [False]
    story.network(HOME.named("Home 5G") + VPN)
    assert set(asked(story, "db")[1:]) == {True}
    assert not story.did(Dial, "db"), "a login before ssh said where to"
    answered(story, "db", server="db.corp.example")
    assert story.did(Dial, "db")
    assert story.host("db").resolved == Resolved("db", "db.corp.example", control_path="/cm/db")


def test_a_flapping_network_asks_nothing(story: Story) -> None:
    """Ten times away and back, with a gateway that is resolved late: the connection is kept, and ssh is not run."""
    connected(story)
    for _ in range(10):
        story.after(1).network(NOTHING, LINK)
        story.after(1).network(HOME.without_mac(), LINK)
        story.after(0.05).network(HOME, LINK)
        if story.host("web").probe is not None:
            story.after(0.05).answered("web")
    assert asked(story) == []


def test_each_login_elsewhere_asks_once_before_it(story: Story) -> None:
    """From home to two cafés: asked, answered, dialled; and not asked again by what the network says later."""
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


def test_an_answer_that_does_not_vary_holds_everywhere(story: Story) -> None:
    """Nothing in ssh_config looks at the network: a login goes at once."""
    story.connected()
    answered(story)
    story.forget()
    story.after(60).network(CAFE, LINK)
    assert asked(story) == []
    assert story.did(Dial)


def test_an_answer_from_before_a_change_is_asked_for_again(story: Story) -> None:
    """Ssh was asked, the network changed, and only then it answered."""
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


def test_a_failed_question_is_asked_once(story: Story) -> None:
    """A slow Match exec at one network: the login goes by the last answer, and fails or works by itself."""
    connected(story)
    story.after(60).network(CAFE, LINK)
    story.post(e.ResolveFailed(story.t, "web", failure("config")), "ssh -G failed")
    assert set(asked(story)) == {True}
    assert story.did(Dial)


def test_a_host_that_stopped_is_asked_again_at_another_network(story: Story) -> None:
    """Refused as one user here, it may be let in as another one there; a flap is no other network."""
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


def test_a_gateway_that_is_resolved_late_tells_where_ssh_was_asked(story: Story) -> None:
    """Else a host that stopped in a café would not be asked again at home."""
    story.network(CAFE.without_mac())
    story.configured(web=ALWAYS)
    answered(story, varies=True)
    story.started()
    story.fails("web", "auth")
    story.after(0.1).network(CAFE)
    story.forget()
    story.after(60).network(HOME, LINK)
    assert set(asked(story)) == {True}


def test_an_old_answer_shuts_out_no_network(story: Story) -> None:
    """At home ssh named an IPv6 address; where no route leads to it, ssh is asked what it names there."""
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


def test_an_answer_with_no_route_here_is_waited_with(story: Story) -> None:
    """Ssh was asked here and names an address that no route leads to: nothing is asked again and again."""
    story.network(CAFE)
    story.configured(web=ALWAYS)
    answered(story, server="2001:db8:113::10", varies=True)
    story.started()
    story.forget()
    story.after(3600)
    assert asked(story) == []
    assert story.problem("web") == "unreachable"


def test_names_that_were_not_looked_up_are_no_new_configuration(story: Story) -> None:
    """A login that was refused is not tried again because ssh was asked without look-ups."""
    wish = Wish(listed=True, connect="always", vpn="corp")
    story.network(HOME + VPN)
    story.configured(vpns=(CORP,), db=wish)
    answered(story, "db", server="db.corp.example")
    story.started()
    story.fails("db", "auth")
    story.forget()
    story.network(HOME)
    answered(story, "db", server="db", looked_up=False)
    story.network(HOME + VPN)
    answered(story, "db", server="db.corp.example")
    story.after(3600)
    assert not story.did(Dial, "db")
