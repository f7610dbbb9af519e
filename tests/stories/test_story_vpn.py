"""VPNs that need the user, and VPNs that are only down."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, HOME, NOTHING, VPN, Scene, nic, tunnel
from tests.stories.teller import ALWAYS, Story
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Dial, Kill, Remember, SendProbe
from trayagent.core.facts.hosts import Wish
from trayagent.core.facts.network import Network
from trayagent.core.facts.network_manager import Connectivity, ManagerFacts, VpnConnection, VpnState
from trayagent.core.facts.vpns import Vpn
from trayagent.core.view import AgentFacts, view
from trayagent.core.vpn_state import vpn_display_state

CORP = Vpn("corp", "tun*", "Corp VPN", grace_s=8.0)
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
        story.found(name, started_by_agent=True, peer=INSIDE, local="10.8.0.6")
    story.started()
    story.forget()


def says(
    story: Story,
    state: VpnState,
    *,
    by_user: bool = False,
    needs_secret: bool = False,
    connectivity: Connectivity = "full",
) -> None:
    """Post NetworkManager's report on the VPN."""
    vpn = VpnConnection("Corp VPN", "u-u", state, by_user=by_user, needs_secret=needs_secret)
    facts = ManagerFacts(running=True, connectivity=connectivity, vpns=(vpn,))
    story.post(e.ManagerReported(story.t, facts), f"NetworkManager: {state}")


def shown(story: Story) -> str:
    """Return the VPN's state as `status` shows it."""
    return vpn_display_state(story.state, "corp", story.t)


def hint(story: Story) -> str:
    """Return the VPN's hint as `status` shows it."""
    whole = view(story.state, AgentFacts("0", 1, ""), {}, str, story.t)
    return str(whole["vpns"][0]["problem"]["hint"])


def test_a_vpn_that_does_not_come_back_needs_the_user_after_its_grace(story: Story) -> None:
    """Eight seconds after a VPN went down, one message is sent for its three hosts, which wait."""
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


def test_a_flapping_vpn_notifies_no_one(story: Story) -> None:
    """Ten losses of the VPN, each shorter than its grace, cause no message."""
    behind(story, "db")
    for _ in range(10):
        story.after(3).network(HOME)
        story.after(3).network(HOME + VPN)
    assert shown(story) == "up"
    assert not story.told("sign-in-needed")


def test_without_a_network_the_grace_does_not_run(story: Story) -> None:
    """While there is no network the grace does not run. The VPN gets its time when the network is back."""
    behind(story, "db")
    story.network(NOTHING)
    story.after(3600).network(CAFE)
    assert shown(story) == "down"
    story.after(8.1)
    assert shown(story) == "needs-sign-in"


def test_a_vpn_taken_down_by_the_user_is_down_without_a_message(story: Story) -> None:
    """A VPN that the user took down (NetworkManager's reason 2) causes no message."""
    behind(story, "db")
    says(story, "down", by_user=True)
    story.network(HOME)
    story.after(600)
    assert shown(story) == "down"
    assert not story.told("sign-in-needed")


def test_a_refused_login_of_the_vpn_needs_the_user_at_once(story: Story) -> None:
    """A refused login of the VPN needs the user at once: reasons 9 and 10, or the plug-in's Failure 0."""
    behind(story, "db")
    says(story, "needs-sign-in")
    story.network(HOME)
    assert shown(story) == "needs-sign-in"
    assert len(story.told("sign-in-needed")) == 1


def test_a_vpn_that_is_coming_up_is_given_its_grace(story: Story) -> None:
    """While NetworkManager connects the VPN, no message is sent. Its hosts connect as soon as it is up."""
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


def test_a_vpn_that_connects_forever_notifies_once(story: Story) -> None:
    """If the VPN's server is silent, the user is notified once after the grace, not at each of the VPN's retries."""
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


def test_a_vpn_that_was_never_up_and_connects_forever_notifies_too(story: Story) -> None:
    """A VPN's grace begins with its first try, not with the agent's start."""
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
    """A user who types a code gets time for that. If the dialog stays unanswered, the hint points to the window."""
    behind(story, "db")
    story.network(HOME)
    says(story, "connecting", needs_secret=True)
    story.after(50)
    assert shown(story) == "connecting"
    says(story, "connecting")  # the user has typed the code
    story.after(7.9)
    assert shown(story) == "connecting"
    says(story, "up")
    story.network(HOME + VPN)
    assert not story.told("sign-in-needed")
    story.network(HOME)
    says(story, "connecting", needs_secret=True)
    story.after(61)
    assert shown(story) == "needs-sign-in"
    assert "window" in hint(story)


def test_a_saved_secret_shows_no_dialog_state(story: Story) -> None:
    """`status` does not show "asking" for a moment: NetworkManager reports it at each try, even with a saved secret."""
    behind(story, "db")
    story.network(HOME)
    says(story, "connecting")
    story.after(0.1)
    says(story, "connecting", needs_secret=True)
    assert shown(story) == "connecting"
    story.after(0.3)
    says(story, "connecting")
    story.after(7)
    assert shown(story) == "connecting"
    story.after(2)
    assert shown(story) == "needs-sign-in"


def test_a_tunnel_without_an_address_is_coming_up(story: Story) -> None:
    """Without a network manager, a tunnel device without an address counts as coming up, within the VPN's grace."""
    behind(story, "db")
    story.network(HOME + Scene("tun0 without an address", (nic("tun0", kind="vpn"),)))
    assert shown(story) == "connecting"
    story.after(8.1)
    assert shown(story) == "needs-sign-in"
    story.network(HOME + VPN)
    assert shown(story) == "up"


def test_a_failed_sign_in_is_in_the_vpns_problem_until_it_is_up(story: Story) -> None:
    """`vpns[].problem.hint` explains a failed sign-in while the VPN needs one, until the VPN is up."""
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


def test_a_vpn_that_was_never_up_causes_no_message(story: Story) -> None:
    """A VPN that was never up causes no message."""
    story.scene = HOME
    story.configured(vpns=(CORP,), db=DB)
    story.resolved("db", server=INSIDE)
    story.network(HOME)
    story.started()
    story.after(600)
    assert shown(story) == "down"
    assert story.shown("db") == "needs-vpn"
    assert not story.told("sign-in-needed")


def test_a_tunnel_that_is_up_and_carries_nothing_needs_the_user(story: Story) -> None:
    """A VPN that NetworkManager calls activated needs the user if no host behind it answers while others do."""
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
def test_behind_a_captive_portal_only_the_user_causes_an_attempt(story: Story, by_user: bool) -> None:
    """Behind a captive portal only a request of the user causes an attempt."""
    story.connected(scene=HOME)
    says(story, "down", connectivity="portal")
    story.ended("web", kind="died")
    assert story.shown("web") == "offline"
    assert story.problem("web") == "captive-portal"
    story.after(60)
    assert not story.did(Dial)
    if by_user:
        story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    else:
        says(story, "down", connectivity="full")
    assert story.did(Dial)


def test_the_time_behind_a_captive_portal_does_not_end_a_living_connection(story: Story) -> None:
    """`keep_while_offline` counts from the suspicion, not from the captive portal, which only blocks new logins."""
    story.connected(scene=HOME)
    says(story, "down", connectivity="portal")
    story.after(700).network(HOME.down("wlan0"))
    assert story.shown("web") == "offline"
    story.after(599)
    assert not story.did(Kill)
    story.after(2)
    assert story.did(Kill)


def taken_out(story: Story, *, tables: bool) -> None:
    """Remove `db` from the configuration while its VPN is down. With `tables`, the VPN's table stays."""
    behind(story, "db")
    story.network(story.scene)  # the agent recognizes the VPN because the host was reached through it
    story.after(60).network(HOME)
    story.configured(vpns=(CORP,) if tables else ())


@pytest.mark.parametrize("tables", [True, False])
def test_a_host_that_was_removed_while_its_vpn_was_down_is_not_dialled_without_it(
    story: Story, tables: bool
) -> None:
    """A removed host waits for its VPN or ends after `keep_while_offline`. No login bypasses the VPN."""
    taken_out(story, tables=tables)
    story.after(1).network(CAFE)
    story.ended("db", kind="died")
    story.after(3600)
    story.network(HOME)
    assert not story.did(Dial, "db")
    assert story.shown("db") == "needs-vpn"
    if not tables:  # the agent does not know that this tunnel is the VPN
        story.network(HOME + tunnel("another VPN", "wg0", "10.66.0.6/24", "0.0.0.0/0"))
        assert not story.did(Dial, "db")
    story.network(HOME + VPN)
    assert story.did(Dial, "db")


@pytest.mark.parametrize("tables", [True, False])
def test_a_removed_hosts_connection_goes_on_when_its_vpn_returns(story: Story, tables: bool) -> None:
    """When its VPN returns, a removed host's connection is probed like that of any adopted master."""
    taken_out(story, tables=tables)
    story.after(1).network(HOME + VPN)
    assert story.did(SendProbe, "db")
    story.after(0.05).answered("db")
    assert story.shown("db") == "connected"


def test_a_later_agent_knows_which_vpn_a_removed_host_needs(story: Story) -> None:
    """A later agent knows the VPN of a host that was removed while no agent ran."""
    story.network(CAFE)
    story.configured()
    reached = frozenset({Network("tun0", "", "10.99.0.0/24")})
    story.post(e.Remembered(story.t, "db", reached=reached, vpn="corp"))
    story.resolved("db", server=INSIDE)
    story.found("db", fresh=False, started_by_agent=True, peer=INSIDE, local="10.8.0.6")
    story.started()
    story.after(60)
    assert not story.did(Dial, "db")
    assert story.shown("db") == "needs-vpn"


def test_the_networks_of_a_removed_host_still_hold(story: Story) -> None:
    """The configured networks of a removed host still limit where it connects, for this agent and a later one."""
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


def test_a_reconnect_reaches_a_removed_host(story: Story) -> None:
    """A reconnect reaches a removed host without its VPN, because no table describes the VPN any more."""
    taken_out(story, tables=False)
    story.after(1).post(user_events.UserReconnect(story.t, ("db",)), "reconnect")
    assert story.did(Dial, "db")


def test_a_new_vpn_of_a_host_is_kept_for_a_later_agent(story: Story) -> None:
    """A host's new VPN is stored, so that it is known even if the host is removed while no agent runs."""
    story.connected("db", scene=HOME)
    story.configured(vpns=(CORP,), db=DB)
    assert story.did(Remember, "db")
    story.forget()
    story.post(e.Remembered(story.t, "db"))
    assert story.did(Remember, "db")


def test_a_table_replaces_the_stored_vpn_and_networks(story: Story) -> None:
    """For a listed host, the VPN and networks of its table replace the stored ones."""
    story.network(CAFE)
    story.configured(db=ALWAYS)
    story.post(e.Remembered(story.t, "db", vpn="corp", networks=("Home*",)))
    story.resolved("db")
    story.started()
    assert story.did(Dial, "db")
