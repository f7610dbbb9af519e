"""When the agent connects: back-off, refusals, networks, VPNs and jump hosts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, CAFE_2, HOME, NOTHING, OFFICE, VPN, VPN_ALL, Scene
from tests.stories.teller import ALWAYS, Story, failure
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Dial, DialBare
from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import ForwardState, Hop, Wish
from trayagent.core.facts.network_manager import ManagerFacts, NetworkName
from trayagent.core.facts.vpns import Vpn

INTERNAL = "10.99.0.10"
NAS = "192.168.10.50"


def begun(story: Story, name: str = "web", wish: Wish = ALWAYS) -> None:
    """Begin at home with a host that is not connected yet."""
    story.network(HOME)
    story.configured(wishes={name: wish})
    story.resolved(name)
    story.started()
    story.forget()


def dialled(story: Story, name: str = "web") -> int:
    """Return the number of logins so far."""
    return len(story.did(Dial, name))


def test_a_server_that_is_away_is_tried_ever_more_rarely(story: Story) -> None:
    """Retries come after 1 s, 2 s, 4 s … up to five minutes, and never stop."""
    begun(story)
    pauses = []
    for _ in range(12):
        story.fails("web", "refused")
        failed_at = story.t
        while story.host("web").attempt is None:
            story.after(0.5)
        pauses.append(story.t - failed_at)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_a_new_network_re_arms_a_back_off(story: Story) -> None:
    """The back-off from home does not apply in the café."""
    begun(story)
    for _ in range(8):
        story.fails("web", "refused")
        story.after(300)
    story.fails("web", "refused")
    story.forget()
    story.network(CAFE)
    story.expect("""
        2400.000 network: café
                web: row 1 dial
            dial web #22 connect
    """)


def test_a_flapping_network_re_arms_at_most_once_in_thirty_seconds(story: Story) -> None:
    """Sixty changes between two networks in half a minute cause one attempt on each, then back-off."""
    begun(story)
    for _ in range(6):
        story.fails("web", "timed-out")
        story.after(300)
    story.fails("web", "timed-out")
    seen = 0
    for _ in range(30):
        for scene in (CAFE, HOME):
            story.network(scene)
            if story.host("web").attempt is not None:
                story.established("web")
                story.fails("web", "timed-out")
                seen += 1
            story.after(0.5)
    assert seen <= 7


def test_a_server_that_drops_us_is_left_alone_for_everybody(story: Story) -> None:
    """After MaxStartups or a penalty, all hosts on the server wait 20 s, then 40 s, however many logins were dropped.

    After each pause, one login checks whether the server accepts us again.
    """
    begun(story)
    story.configured(web=ALWAYS, twin=ALWAYS)
    story.resolved("twin", user="twin")
    story.fails("web", "dropped")
    story.fails("twin", "dropped")
    story.after(19.9)
    assert (dialled(story), dialled(story, "twin")) == (0, 1)
    story.after(0.2)
    assert (dialled(story), dialled(story, "twin")) == (1, 1)
    assert (story.shown("twin"), story.problem("twin")) == ("waiting", "refused")
    story.fails("web", "dropped")
    story.after(39)
    assert (dialled(story), dialled(story, "twin")) == (1, 1)
    story.after(2)
    assert dialled(story) + dialled(story, "twin") == 3
    first, other = ("web", "twin") if story.host("web").attempt is not None else ("twin", "web")
    story.ready(first)
    assert dialled(story) + dialled(story, "twin") == 4, f"{other} follows"


def test_a_login_that_hangs_holds_up_the_others_for_its_deadline_only(story: Story) -> None:
    """After a server dropped a login, a hanging login delays the server's other hosts by at most 30 s."""
    begun(story)
    story.configured(web=ALWAYS, twin=ALWAYS)
    story.resolved("twin", user="twin")
    story.fails("web", "dropped")
    story.fails("twin", "dropped")
    story.after(20.1)
    assert (dialled(story), dialled(story, "twin")) == (1, 1)
    story.after(30)
    assert dialled(story, "twin") == 2


def test_a_refused_login_is_not_repeated(story: Story) -> None:
    """A refused login is not repeated on a new network, after a wake, or after a day, because accounts get locked."""
    begun(story)
    story.fails("web", "auth", positive=True)
    story.after(60).network(CAFE)
    story.after(60).post(e.Woke(story.t), "woke")
    story.after(86400)
    assert dialled(story) == 0
    assert story.shown("web") == "needs-sign-in"


def test_a_new_key_lets_a_refused_login_try_again(story: Story) -> None:
    """However often files change, there is no third refused login within ten minutes."""
    begun(story)
    story.fails("web", "auth", positive=True)
    for _ in range(20):
        story.after(20).post(user_events.CredentialsChanged(story.t), "a key changed")
        if story.host("web").attempt is not None:
            story.fails("web", "auth", positive=True)
    assert dialled(story) == 1


def test_a_changed_configuration_is_bounded_like_a_changed_key(story: Story) -> None:
    """Even if `ssh -G` changes each time, there are only two refused logins in ten minutes."""
    begun(story)
    story.fails("web", "auth", positive=True)
    for number in range(20):
        story.after(20).resolved("web", command=None, strict="yes" if number % 2 else "ask")
        story.after(0)
        if story.host("web").attempt is not None:
            story.fails("web", "auth", positive=True)
    assert dialled(story) == 1


def test_a_server_that_reboots_refuses_for_a_while(story: Story) -> None:
    """A refusal right after an outage may come from a reboot, so the login is repeated after 2 and 15 minutes."""
    begun(story)
    story.reconnected()
    story.after(60).ended("web", kind="died")
    story.fails("web", "auth", positive=True)
    story.forget()
    story.after(119)
    story.after(2).fails("web", "auth", positive=True)
    story.after(899)
    story.after(2).fails("web", "auth", positive=True)
    story.after(7200)
    story.expect("""
        180.000 the time came for web
                web: row 1 dial
            dial web #3 connect
        181.000 attempt of web failed: auth positive
                web: row 0 failed
        1081.000 the time came for web
                web: row 1 dial
            dial web #4 connect
        1082.000 attempt of web failed: auth positive
                web: row 0 failed
    """)


def test_a_master_that_we_ended_is_no_reboot(story: Story) -> None:
    """A master that we killed for a refused login is not a sign of a reboot, so the next refusal is final."""
    begun(story)
    story.reconnected()
    story.after(60).network(CAFE)
    story.fails("web", "auth", positive=True)
    story.after(0.3).ended("web")
    story.after(10).post(user_events.CredentialsChanged(story.t), "a key changed")
    story.fails("web", "auth", positive=True)
    story.forget()
    story.after(7200)
    assert dialled(story) == 0


def test_a_success_in_between_ends_the_count_of_refusals(story: Story) -> None:
    """A success shows that the account is not locked. After it, two more refusals are the limit in ten minutes."""
    begun(story)
    story.fails("web", "auth", positive=True)
    story.after(10).post(user_events.CredentialsChanged(story.t), "a key changed")
    story.reconnected()
    story.after(10).ended("web", kind="died")
    story.fails("web", "auth", positive=True)
    story.forget()
    story.after(121)
    assert dialled(story) == 1, "the server may be rebooting"
    story.fails("web", "auth", positive=True)
    story.after(1).post(user_events.CredentialsChanged(story.t), "a key changed")
    assert dialled(story) == 1


def test_a_reboot_that_falters_gets_no_third_refusal(story: Story) -> None:
    """If a server is away and refuses logins in turns, the count of refusals does not restart."""
    begun(story)
    story.reconnected()
    story.after(60).ended("web", kind="died")
    story.fails("web", "auth", positive=True)
    refusals = [story.t]
    kinds: list[FailureKind] = ["timed-out", "auth"] * 4
    for kind in kinds:
        for _ in range(600):
            if story.host("web").attempt is None:
                story.after(1)
        if story.host("web").attempt is None:
            break
        story.fails("web", kind, positive=kind == "auth")
        refusals += [story.t] if kind == "auth" else []
    assert all(later - first >= 600 for first, later in zip(refusals, refusals[2:], strict=False))


def test_a_server_that_is_booting_up_is_tried_again_in_twenty_seconds(story: Story) -> None:
    """If a server reports that it is booting, the login is repeated after 20 s, because that is no refusal."""
    begun(story)
    story.fails("web", "booting", positive=True)
    story.forget()
    story.after(21)
    story.expect("""
        20.000 the time came for web
                web: row 1 dial
            dial web #2 connect
    """)


def test_as_many_attempts_on_a_server_in_a_minute_as_it_has_hosts(story: Story) -> None:
    """Ten aliases of one refusing machine cause at most ten attempts in a minute."""
    names = [f"h{n}" for n in range(10)]
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(names, ALWAYS))
    for name in names:
        story.resolved(name)
    story.started()
    begun_at: list[float] = []
    for _ in range(1200):
        known = len(begun_at)
        total = sum(dialled(story, n) for n in names)
        begun_at += [story.t] * (total - known)
        for name in names:
            if story.host(name).attempt is not None:
                story.fails(name, "refused")
        story.after(0.5)
    worst = max(sum(1 for t in begun_at if at <= t < at + 60) for at in begun_at)
    assert worst <= 10


def test_the_jump_host_goes_first(story: Story) -> None:
    """A host behind a jump host waits until the jump host is connected, and then connects through it."""
    story.network(HOME)
    story.configured(inner=ALWAYS, jump=ALWAYS)
    story.resolved("inner", server=INTERNAL, jump="me@jump:22", hop=Hop("203.0.113.10", 22))
    story.resolved("jump")
    story.started()
    assert dialled(story, "inner") == 0
    story.ready("jump")
    story.took_over("jump")
    assert dialled(story, "inner") == 1


def test_a_paused_jump_host_is_not_waited_for(story: Story) -> None:
    """A paused jump host is not waited for, because it would never connect."""
    story.network(HOME)
    story.configured(inner=ALWAYS, jump=ALWAYS)
    story.resolved("inner", server=INTERNAL, jump="jump", hop=Hop("203.0.113.10", 22))
    story.resolved("jump")
    story.post(user_events.UserPause(story.t, ("jump",)), "pause jump")
    story.started()
    assert dialled(story, "inner") == 1


def test_a_carried_master_waits_for_its_carrier(story: Story) -> None:
    """Of two masters on one TCP connection, the carrier is probed first, and the other once the carrier answered."""
    carrier = story.connected("jump", scene=HOME)
    story.connected("inner", carrier=carrier.pid, direct=False)
    story.after(60).network(HOME + OFFICE)
    story.after(0.05).answered("jump")
    story.expect("""
        60.000 network: home + office
                jump: row 0 suspect
                inner: row 0 suspect
                jump: row 5 probe
            probe jump pid=101
        60.050 probe of jump answered
                jump: row 6 keep
                inner: row 5 probe
            probe inner pid=102
    """)


def test_an_interactive_host_is_never_dialled_automatically(story: Story) -> None:
    """Only the user begins a login to an interactive host, because each login needs a touch."""
    begun(story, wish=Wish(listed=True, connect="always", interactive=True))
    story.after(3600)
    assert dialled(story) == 0
    assert story.shown("web") == "needs-sign-in"
    assert story.problem("web") == "auth-denied"
    story.post(user_events.UserReconnect(story.t, ("web",)), "reconnect")
    assert dialled(story) == 1


def test_an_interactive_hosts_stale_master_is_ended_without_a_login(story: Story) -> None:
    """A bare control proves an interactive host's old master stale. The agent ends it, and the host needs the user."""
    story.connected(scene=HOME, wish=Wish(listed=True, connect="always", interactive=True))
    story.after(60).network(CAFE)
    story.after(0.1).ready("web", bare=True)
    story.after(0.2)
    story.ended("web")
    story.expect("""
        60.000 network: café
                web: row 0 suspect
                web: row 4 control
                web: row 4 bare-control
            bare-control web #1 203.0.113.10:22
        60.100 attempt of web answered
                web: row 4 wait
        60.250 the time came for web
                web: row 9 kill
            kill web pid=101
        60.300 ended web pid=101
                web: row 0 sign-in-needed
    """)
    assert story.shown("web") == "needs-sign-in"


def test_why_reports_no_login_where_only_the_server_is_checked(story: Story) -> None:
    """While an interactive host's server is checked without a login, `why` reports no new login."""
    story.connected(scene=HOME, wish=Wish(listed=True, connect="always", interactive=True))
    story.after(60).network(CAFE)
    story.after(0.1).post(user_events.UserViewedStatus(story.t))
    story.ready("web", bare=True)
    said = [words for words in story.sentences() if words]
    assert [words for words in said if "without a login" in words]
    assert not [words for words in said if "new login" in words]


FOREIGN = "cloudflared access ssh --hostname %h"


def test_an_unknown_proxy_command_gets_one_attempt_in_each_network(story: Story) -> None:
    """An unknown error may be a refused login, so each network gets one attempt.

    Status shows the command's own words.
    """
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web", command=FOREIGN)
    story.started()
    story.fails("web", "proxy-command")
    story.after(3600)
    assert dialled(story) == 1
    assert story.shown("web") == "failed"
    problem = story.host("web").problem
    assert problem is not None
    assert problem.title == "it is proxy-command"
    assert "trayagent reconnect web" in problem.hint
    story.network(CAFE)
    assert dialled(story) == 2


@pytest.mark.parametrize("kind", ["dns", "refused", "unreachable", "timed-out"])
def test_an_unknown_proxy_command_is_tried_again_while_the_world_is_down(
    story: Story, kind: FailureKind
) -> None:
    """A ProxyCommand is run again if its message says that the network or the server is away."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web", command=FOREIGN)
    story.started()
    story.fails("web", kind)
    assert story.shown("web") == "waiting"
    story.after(1.5)
    assert dialled(story) == 2


def test_a_proxy_command_that_logged_in_is_tried_again_whatever_it_says(story: Story) -> None:
    """If a ProxyCommand once logged in without the user, the attempt is repeated after an unknown error."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web", command=FOREIGN)
    story.started()
    story.ready("web", direct=False)
    story.took_over("web")
    story.after(60)
    story.ended("web")
    story.fails("web", "proxy-command")
    before = dialled(story)
    story.after(1.5)
    assert dialled(story) == before + 1


def test_a_proxy_command_that_wants_a_login_waits_for_the_user(story: Story) -> None:
    """If a ProxyCommand's token expired, the host waits for the user. Another network gets one attempt."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web", command=FOREIGN)
    story.started()
    story.ready("web", direct=False)
    story.took_over("web")
    story.after(60)
    story.ended("web")
    before = dialled(story)
    story.fails("web", "proxy-login")
    story.after(3600)
    assert dialled(story) == before
    assert story.shown("web") == "needs-sign-in"
    assert story.told("sign-in-needed")
    story.network(CAFE)
    assert dialled(story) == before + 1


def test_a_proxy_that_refuses_logins_is_not_tried_on_every_network(story: Story) -> None:
    """A proxy may also lock accounts, so it gets at most two refused logins in ten minutes."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web", command=FOREIGN)
    story.started()
    for scene in (CAFE, HOME, CAFE, HOME):
        if story.host("web").attempt is not None:
            story.fails("web", "proxy-login")
        story.after(60).network(scene)
    assert dialled(story) == 2


def test_a_move_is_seen_through_any_proxy_command(story: Story) -> None:
    """After a move, a new login through the command is the control and replaces the old master."""
    story.connected(scene=HOME, direct=False)
    story.resolved("web", command="socat - TCP:%h:%p")
    story.after(60).network(CAFE)
    story.after(0.1).ready("web", direct=False)
    story.after(0.3).took_over("web")
    assert story.shown("web") == "connected"
    assert story.living("web").pid != 101


@pytest.mark.parametrize("command", ["ssh -W %h:%p jump", "/usr/bin/nc %h %p", "exec nc -x proxy %h %p"])
def test_proxy_commands_with_ssh_or_nc_need_no_user(story: Story, command: str) -> None:
    """A host with a ProxyCommand of ssh or nc is dialled again without the user, like a direct host."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web", command=command)
    story.started()
    story.fails("web", "timed-out")
    story.after(1.5)
    assert dialled(story) == 2


def test_a_host_behind_a_vpn_waits_for_it(story: Story) -> None:
    """While its configured VPN is down, a host causes no name lookup and no packet. It connects once the VPN is up."""
    story.network(HOME)
    story.configured(vpns=(Vpn("corp", "tun*"),), db=Wish(listed=True, connect="always", vpn="corp"))
    story.resolved("db", server="db.corp", hop=Hop("db.corp", 22))
    story.started()
    story.after(60)
    assert story.shown("db") == "needs-vpn"
    assert story.problem("db") == "vpn-down"
    story.forget()
    story.network(HOME + VPN)
    story.expect("""
        60.000 network: home + VPN
                db: row 1 dial
            dial db #1 connect
    """)
    assert story.problem("db") is None


@pytest.mark.parametrize(
    ("networks", "name", "allowed"),
    [
        (("Office*",), "Office 5G", True),
        (("Office*",), "Airport WiFi", False),
        (("Office*",), None, False),
        (("!Airport WiFi",), "Airport WiFi", False),
        (("!Airport WiFi",), "Home", True),
        (("!Airport WiFi",), None, True),
        (("Office*", "!Office Guests"), "Office Guests", False),
    ],
)
def test_networks_allow_and_deny(
    story: Story, networks: tuple[str, ...], name: str | None, allowed: bool
) -> None:
    """A network of unknown name is allowed only if all entries of the list are denials."""
    story.network(HOME.named(name))
    story.configured(web=Wish(listed=True, connect="always", networks=networks))
    story.resolved("web")
    story.started()
    assert dialled(story) == (1 if allowed else 0)
    assert story.problem("web") == (None if allowed else "network-not-allowed")


def test_without_strict_checking_a_private_address_is_tried_only_on_known_networks(story: Story) -> None:
    """Without host key checking, no login goes to a private address in a café.

    Any machine there could learn the user's name.
    """
    story.connected("nas", scene=HOME, server=NAS, strict="no")
    story.after(60).network(CAFE)
    story.after(60).network(HOME)
    story.expect("""
        60.000 network: café
                nas: row 0 suspect
                nas: row 2 offline
        120.000 network: home
                nas: row 0 suspect
                nas: row 5 probe
            probe nas pid=101
    """)
    assert dialled(story, "nas") == 0


def test_a_reconnect_is_carried_out_on_any_network(story: Story) -> None:
    """A request of the user is carried out on any network."""
    story.connected("nas", scene=HOME, server=NAS, strict="no")
    story.after(60).network(CAFE)
    story.post(user_events.UserReconnect(story.t, ("nas",)), "reconnect")
    assert dialled(story, "nas") == 1


def test_another_machines_key_allows_a_retry_on_the_next_network(story: Story) -> None:
    """After another machine's key, each new network gets one attempt. A return within half a minute delays it."""
    story.connected("nas", scene=HOME, server=NAS)
    story.after(60).network(CAFE)
    story.after(0.3).fails("nas", "host-key-changed")
    story.after(1).network(CAFE_2)
    story.after(0.3).fails("nas", "host-key-changed")
    story.after(1).network(CAFE)
    story.after(0.3).fails("nas", "host-key-changed")
    story.after(1).network(CAFE_2)
    story.after(0.3)
    assert dialled(story, "nas") == 3
    story.after(60)
    assert dialled(story, "nas") == 4


def test_another_key_at_the_first_network_does_not_stop_a_host_on_the_next_one(story: Story) -> None:
    """A host that was never reached is tried once on each network, because the first network may show a false key."""
    story.network(CAFE)
    story.configured(web=ALWAYS)
    story.resolved("web")
    story.started()
    story.after(0.3).fails("web", "host-key-changed")
    assert story.problem("web") == "host-key-changed"
    story.after(3600)
    assert dialled(story) == 1, "nothing changed here"
    story.network(HOME)
    assert dialled(story) == 2
    story.reconnected("web")
    story.after(60).ended("web", kind="died")
    story.after(0.3).fails("web", "host-key-changed")
    story.forget()
    story.after(60).network(CAFE)
    assert dialled(story) == 0, "the key changed on a network where the host was reached"


def test_an_unnamed_masters_private_server_gets_no_banner_check_in_a_cafe(story: Story) -> None:
    """An unnamed master's private server gets no banner check in a café, where its address is another machine's."""
    story.connected(scene=HOME)
    story.found("ansible@nas:22", unnamed=True, peer=NAS)
    story.after(60).network(CAFE)
    story.after(3600)
    assert not story.did(DialBare, "ansible@nas:22")


def test_an_attempt_from_an_address_that_is_gone_is_made_again(story: Story) -> None:
    """An attempt whose local address is gone is replaced at once, because it would hang until its deadline."""
    begun(story)
    story.after(0.2).network(CAFE)
    story.expect("""
        0.200 network: café
                web: row 1 dial
            abort web #1
            dial web #2 connect
    """)


def test_a_forward_that_failed_is_requested_again(story: Story) -> None:
    """A failed forward is requested again after one second, then two, because the port may be free by then."""
    story.connected(scene=HOME)
    failed = ForwardState(parse("local", "8080:localhost:80"), "failed", None, "in use")
    story.post(e.ForwardsChanged(story.t, "web", story.living("web").pid, (failed,)), "a forward failed")
    story.after(1).post(
        e.ForwardsChanged(story.t, "web", story.living("web").pid, (failed,)), "it failed again"
    )
    story.after(2)
    story.expect("""
        0.000 a forward failed
                web: row 0 forward-failed
        1.000 the time came for web
            ensure forwards web
        1.000 it failed again
        3.000 the time came for web
            ensure forwards web
    """)


def test_no_network_no_attempt(story: Story) -> None:
    """Without a network there is no attempt, and so no back-off."""
    begun(story)
    story.fails("web", "refused")
    story.network(NOTHING)
    story.after(3600)
    story.forget()
    story.network(HOME)
    story.expect("""
        3600.000 network: home
                web: row 1 dial
            dial web #2 connect
    """)


@pytest.mark.parametrize(
    ("networks", "scene", "allowed"),
    [
        (("!Airport WiFi",), CAFE, False),
        (("!Airport WiFi",), CAFE + OFFICE, True),  # the cable has the better metric
        (("Airport WiFi",), CAFE + OFFICE, False),  # the cable's name is not known
        (("Airport WiFi",), CAFE, True),
        (("Airport",), CAFE, True),  # the connection's name
        (("!Airport",), CAFE + VPN_ALL, False),  # the tunnel runs over it
        (("!Airport",), CAFE + OFFICE + VPN_ALL, True),
    ],
)
def test_a_networks_name_is_of_its_own_interface(
    story: Story, networks: tuple[str, ...], scene: Scene, allowed: bool
) -> None:
    """NetworkManager's name for the Wi-Fi does not apply to the cable beside it."""
    told = NetworkName("Airport", "Airport WiFi", "wlan0")
    story.post(e.ManagerReported(story.t, ManagerFacts(running=True, connectivity="full", network=told)))
    story.network(replace(scene, name="Airport WiFi", name_of="wlan0"))
    story.configured(web=Wish(listed=True, connect="always", networks=networks))
    story.resolved("web")
    story.started()
    assert bool(story.did(Dial)) == allowed
    assert (story.problem("web") == "network-not-allowed") != allowed


def test_a_network_has_only_the_name_of_its_own_interface(story: Story) -> None:
    """The Wi-Fi's name does not make two cables at two desks one network."""
    wifi = replace(CAFE + OFFICE, name="Airport WiFi", name_of="wlan0")
    story.connected(scene=wifi, local="172.20.0.5")
    assert {network.name for network in story.host("web").reached.networks} == {""}


def refused_before(story: Story, *ago_s: float) -> None:
    """Begin at home with a host whose refused logins an earlier agent stored."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    refusal = e.Refusal("auth", failure("auth").problem)
    story.post(e.Remembered(story.t, "web", refused_ago_s=ago_s, refusal=refusal))
    story.resolved("web")
    story.started()


def test_a_refused_login_stays_refused_after_a_restart(story: Story) -> None:
    """A new agent does not repeat a refused login until a key changes, within the limits."""
    refused_before(story, 30.0, 20.0)
    story.after(3600)
    assert not story.did(Dial)
    assert (story.shown("web"), story.problem("web")) == ("needs-sign-in", "auth-denied")


def test_refusals_of_an_earlier_agent_count(story: Story) -> None:
    """Two logins refused within ten minutes delay the third, even across a restart of the agent."""
    refused_before(story, 500.0, 20.0)
    story.post(user_events.CredentialsChanged(story.t, ("web",)))
    story.after(99)
    assert not story.did(Dial)
    story.after(2)
    assert story.did(Dial)


def test_a_control_that_fails_is_no_failure_of_a_host_that_is_kept(story: Story) -> None:
    """If the old connection lives, a failed control causes no notification and only appears in `why`."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.after(0.2).fails("web", "auth", positive=True)
    story.answered("web")
    assert story.shown("web") == "connected"
    assert not story.told("connect-failed")
    assert not story.told("sign-in-needed")
    assert any(w.evidence.get("kind") == "auth" for w in story.whys)


@pytest.mark.parametrize("itself", [True, False])
def test_a_refused_control_is_reported_when_the_old_master_is_gone(story: Story, itself: bool) -> None:
    """When a refused control's old master ends, killed or not, exactly one event says that the host needs the user."""
    story.connected(scene=HOME)
    story.after(60).network(HOME + OFFICE)
    story.after(0.2).fails("web", "auth", positive=True)
    if itself:
        story.ended("web", kind="died")
    else:
        story.after(5)
        story.ended("web")
    assert story.shown("web") == "needs-sign-in"
    assert len(story.told("connect-failed")) == 1
    assert len(story.told("sign-in-needed")) == 1
