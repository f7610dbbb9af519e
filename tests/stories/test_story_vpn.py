"""A VPN that wants the user, and one that is merely down."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, HOME, NOTHING, VPN, Scene, nic, tunnel
from tests.stories.teller import ALWAYS, Story
from trayagent.core.facts import events as e
from trayagent.core.facts.actions import Dial, Remember, SendProbe
from trayagent.core.facts.hosts import Place, Wish
from trayagent.core.facts.network_manager import Connectivity, ManagerFacts, VpnConnection, VpnState
from trayagent.core.view import AgentFacts, view
from trayagent.core.vpn_state import shown_vpn

CORP = e.Vpn("corp", "tun*", "Corp VPN", grace_s=8.0)
DB = Wish(listed=True, connect="always", vpn="corp")
INSIDE = "10.99.0.10"


def behind(story: Story, *names: str) -> None:
    """Begin at home with hosts that are connected through the VPN."""
    story.scene = HOME + VPN
    story.configured(vpns=(CORP,), wishes=dict.fromkeys(names, DB))
    for name in names:
        story.resolved(name, server=INSIDE)
    story.network(HOME + VPN)
    for name in names:
        story.found(name, ours=True, peer=INSIDE, local="10.8.0.6")
    story.started()
    story.forget()


def says(
    story: Story,
    state: VpnState,
    *,
    by_user: bool = False,
    asking: bool = False,
    connectivity: Connectivity = "full",
) -> None:
    """Let NetworkManager speak of the VPN."""
    vpn = VpnConnection("Corp VPN", "u-u", state, by_user=by_user, asking=asking)
    facts = ManagerFacts(running=True, connectivity=connectivity, vpns=(vpn,))
    story.post(e.ManagerSaid(story.t, facts), f"NetworkManager: {state}")


def shown(story: Story) -> str:
    """Return the state of the VPN that status shows."""
    return shown_vpn(story.state, "corp", story.t)


def hint(story: Story) -> str:
    """Return what status says to do about the VPN."""
    whole = view(story.state, AgentFacts("0", 1, ""), {}, str, story.t)
    return str(whole["vpns"][0]["problem"]["hint"])


def test_a_vpn_that_does_not_come_back_wants_the_user_after_its_grace(story: Story) -> None:
    """One message, eight seconds after it went, for three hosts; they wait quietly."""
    behind(story, "db1", "db2", "db3")
    story.network(HOME)
    assert shown(story) == "down"
    story.after(7.9)
    assert shown(story) == "down"
    story.after(0.2)
    assert shown(story) == "needs-sign-in"
    assert [t.details["vpn"] for t in story.told("sign-in-needed")] == ["corp"]
    assert {story.shown(n) for n in ("db1", "db2", "db3")} == {"needs-vpn"}
    assert not story.did(Dial)


def test_flapping_asks_nobody(story: Story) -> None:
    """Ten times away and back within its grace: no message."""
    behind(story, "db")
    for _ in range(10):
        story.after(3).network(HOME)
        story.after(3).network(HOME + VPN)
    assert shown(story) == "up"
    assert not story.told("sign-in-needed")


def test_without_a_network_the_grace_does_not_run(story: Story) -> None:
    """The user knows that the network is away; the VPN gets its time once it is back."""
    behind(story, "db")
    story.network(NOTHING)
    story.after(3600).network(CAFE)
    assert shown(story) == "down"
    story.after(8.1)
    assert shown(story) == "needs-sign-in"


def test_a_vpn_taken_down_by_the_user_is_down_without_a_message(story: Story) -> None:
    """NetworkManager's reason 2."""
    behind(story, "db")
    says(story, "down", by_user=True)
    story.network(HOME)
    story.after(600)
    assert shown(story) == "down"
    assert not story.told("sign-in-needed")


def test_a_refused_login_of_the_vpn_wants_the_user_at_once(story: Story) -> None:
    """NetworkManager says so itself: reasons 9 and 10, or the plug-in's Failure 0."""
    behind(story, "db")
    says(story, "needs-sign-in")
    story.network(HOME)
    assert shown(story) == "needs-sign-in"
    assert len(story.told("sign-in-needed")) == 1


def test_a_vpn_that_is_coming_up_is_given_its_grace(story: Story) -> None:
    """While NetworkManager connects nobody is asked; and its hosts go on the moment it is up."""
    behind(story, "db")
    story.network(HOME)
    story.after(2)
    says(story, "connecting")
    story.after(7.9)
    assert shown(story) == "connecting"
    says(story, "up")
    story.network(HOME + VPN)
    assert shown(story) == "up"
    assert not story.told("sign-in-needed")


def test_a_vpn_that_connects_for_ever_asks_once(story: Story) -> None:
    """A server that says nothing: after its grace the user is asked, and not again at each of its own retries."""
    behind(story, "db")
    story.network(HOME)
    for _ in range(5):
        says(story, "connecting")
        story.after(60)
        assert shown(story) == "needs-sign-in"
        says(story, "failed")
        story.after(1)
        assert shown(story) == "needs-sign-in"
    assert len(story.told("sign-in-needed")) == 1
    says(story, "up")
    story.network(HOME + VPN)
    assert shown(story) == "up"


def test_a_vpn_that_was_never_up_and_connects_for_ever_asks_too(story: Story) -> None:
    """Its time begins with its first try, not with the agent."""
    story.scene = HOME
    story.configured(vpns=(CORP,), db=DB)
    story.resolved("db", server=INSIDE)
    story.network(HOME)
    story.started()
    story.after(600)
    says(story, "connecting")
    story.after(7.9)
    assert shown(story) == "connecting"
    story.after(0.2)
    assert shown(story) == "needs-sign-in"


def test_a_dialog_that_asks_is_given_time(story: Story) -> None:
    """Whoever types a code is not told to sign in; a dialog that nobody sees is pointed at; then it may connect."""
    behind(story, "db")
    story.network(HOME)
    says(story, "connecting", asking=True)
    story.after(50)
    assert shown(story) == "connecting"
    says(story, "connecting")  # the code was typed
    story.after(7.9)
    assert shown(story) == "connecting"
    says(story, "up")
    story.network(HOME + VPN)
    assert not story.told("sign-in-needed")
    story.network(HOME)
    says(story, "connecting", asking=True)
    story.after(61)
    assert shown(story) == "needs-sign-in"
    assert "window" in hint(story)


def test_a_saved_secret_is_asked_for_in_passing(story: Story) -> None:
    """NetworkManager says "asking" for a moment at each try; that shows nowhere."""
    behind(story, "db")
    story.network(HOME)
    says(story, "connecting")
    story.after(0.1)
    says(story, "connecting", asking=True)
    assert shown(story) == "connecting"
    story.after(0.3)
    says(story, "connecting")
    story.after(7)
    assert shown(story) == "connecting"
    story.after(2)
    assert shown(story) == "needs-sign-in"


def test_a_tunnel_without_an_address_is_coming_up(story: Story) -> None:
    """Where no manager speaks, its device does; and it has no longer than its grace, either."""
    behind(story, "db")
    story.network(HOME + Scene("tun0 without an address", (nic("tun0", kind="vpn"),)))
    assert shown(story) == "connecting"
    story.after(8.1)
    assert shown(story) == "needs-sign-in"
    story.network(HOME + VPN)
    assert shown(story) == "up"


def test_how_a_sign_in_failed_stands_in_the_vpns_problem_until_it_is_up(story: Story) -> None:
    """`vpns[].problem.hint`; where nobody is asked to sign in there is no problem to hold it."""
    behind(story, "db")
    story.post(e.SignInFailed(story.t, "corp", "AUTH: wrong code"))
    assert shown(story) == "up"
    story.network(HOME)
    story.after(9)
    story.post(e.SignInFailed(story.t, "corp", "AUTH: wrong code"))
    story.post(e.SignInFailed(story.t, "no such", "nothing"))
    assert hint(story) == "AUTH: wrong code"
    story.network(HOME + VPN)
    story.network(HOME)
    story.after(9)
    assert "wrong" not in hint(story)


def test_a_vpn_that_was_never_up_is_not_asked_for(story: Story) -> None:
    """At login, in the office: nobody misses what was not there."""
    story.scene = HOME
    story.configured(vpns=(CORP,), db=DB)
    story.resolved("db", server=INSIDE)
    story.network(HOME)
    story.started()
    story.after(600)
    assert shown(story) == "down"
    assert story.shown("db") == "needs-vpn"
    assert not story.told("sign-in-needed")


def test_a_tunnel_that_stands_and_carries_nothing_wants_the_user(story: Story) -> None:
    """NetworkManager still calls it activated, nobody behind it answers, the others do."""
    behind(story, "db")
    story.connected("web", ALWAYS, HOME + VPN)
    story.configured(vpns=(CORP,), web=ALWAYS, db=DB)
    says(story, "up")
    assert shown(story) == "up"
    story.ended("db", kind="died")
    story.fails("db", "timed-out")
    assert shown(story) == "needs-sign-in"
    story.after(2)
    story.reconnected("db")
    assert shown(story) == "up"


@pytest.mark.parametrize("by_user", [False, True])
def test_behind_a_captive_portal_nothing_is_tried_but_by_the_user(story: Story, by_user: bool) -> None:
    """No attempt while the network wants to be signed in to; the user's own word goes anywhere."""
    story.connected(scene=HOME)
    says(story, "down", connectivity="portal")
    story.ended("web", kind="died")
    assert story.shown("web") == "offline"
    assert story.problem("web") == "captive-portal"
    story.after(60)
    assert not story.did(Dial)
    if by_user:
        story.post(e.UserReconnect(story.t, ("web",)), "reconnect")
    else:
        says(story, "down", connectivity="full")
    assert story.did(Dial)


def taken_out(story: Story, *, tables: bool) -> None:
    """Take `db` out of the configuration while its VPN is down; with `tables` the VPN's table stays."""
    behind(story, "db")
    story.network(story.scene)  # reached through it, and known by that
    story.after(60).network(HOME)
    story.configured(vpns=(CORP,) if tables else ())


@pytest.mark.parametrize("tables", [True, False])
def test_a_host_that_was_removed_while_its_vpn_was_down_is_not_dialled_without_it(
    story: Story, tables: bool
) -> None:
    """Its connection waits for the VPN, or ends after `keep_while_offline`; no login goes past the VPN."""
    taken_out(story, tables=tables)
    story.after(1).network(CAFE)
    story.ended("db", kind="died")
    story.after(3600)
    story.network(HOME)
    assert not story.did(Dial, "db")
    assert story.shown("db") == "needs-vpn"
    if not tables:  # nothing says that this tunnel is the VPN
        story.network(HOME + tunnel("another VPN", "wg0", "10.66.0.6/24", "0.0.0.0/0"))
        assert not story.did(Dial, "db")
    story.network(HOME + VPN)
    assert story.did(Dial, "db")


@pytest.mark.parametrize("tables", [True, False])
def test_a_removed_hosts_connection_goes_on_when_its_vpn_returns(story: Story, tables: bool) -> None:
    """It is asked, as any other that was found."""
    taken_out(story, tables=tables)
    story.after(1).network(HOME + VPN)
    assert story.did(SendProbe, "db")
    story.after(0.05).answered("db")
    assert story.shown("db") == "connected"


def test_a_later_agent_knows_which_vpn_a_removed_host_needs(story: Story) -> None:
    """The host was taken out of the configuration while no agent ran; its connection is found."""
    story.network(CAFE)
    story.configured()
    reached = frozenset({Place("tun0", "", "10.99.0.0/24")})
    story.post(e.Remembered(story.t, "db", reached=reached, vpn="corp"))
    story.resolved("db", server=INSIDE)
    story.found("db", fresh=False, ours=True, peer=INSIDE, local="10.8.0.6")
    story.started()
    story.after(60)
    assert not story.did(Dial, "db")
    assert story.shown("db") == "needs-vpn"


def test_the_networks_of_a_removed_host_still_hold(story: Story) -> None:
    """Where it was not to be connected it is not, by this agent and a later one."""
    away = Wish(listed=True, connect="always", networks=("Home*",))
    story.connected("nas", away, HOME.named("Home"))
    story.after(60).configured()
    story.network(CAFE.named("Airport"))
    story.ended("nas", kind="died")
    story.after(60)
    assert not story.did(Dial, "nas")
    later = Story()
    later.network(CAFE.named("Airport"))
    later.configured()
    later.post(e.Remembered(later.t, "nas", networks=("Home*",)))
    later.resolved("nas")
    later.found("nas", fresh=False)
    later.started()
    later.after(60)
    assert not later.did(Dial, "nas")


def test_the_users_word_reaches_a_removed_host(story: Story) -> None:
    """No table says any more how its VPN is seen, so they know better."""
    taken_out(story, tables=False)
    story.after(1).post(e.UserReconnect(story.t, ("db",)), "reconnect")
    assert story.did(Dial, "db")


def test_a_new_vpn_of_a_host_is_kept_for_a_later_agent(story: Story) -> None:
    """It is known even if the host leaves the configuration while no agent runs."""
    story.connected("db", scene=HOME)
    story.configured(vpns=(CORP,), db=DB)
    assert story.did(Remember, "db")
    story.forget()
    story.post(e.Remembered(story.t, "db"))
    assert story.did(Remember, "db")


def test_what_a_configuration_says_goes_before_what_an_older_one_said(story: Story) -> None:
    """A listed host has the VPN and the networks of its table only."""
    story.network(CAFE)
    story.configured(db=ALWAYS)
    story.post(e.Remembered(story.t, "db", vpn="corp", networks=("Home*",)))
    story.resolved("db")
    story.started()
    assert story.did(Dial, "db")
