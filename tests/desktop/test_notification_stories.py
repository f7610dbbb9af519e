"""Stories with transcripts of the notifications that the user gets."""

from __future__ import annotations

import pytest

from tests.desktop.views import Desk, host, vpn
from trayagent.core.display_state import STATE_OF
from trayagent.core.facts.problems import CODES
from trayagent.desktop.notifications.problems_worth_a_message import ACTIONS, WARNINGS
from trayagent.desktop.notifications.which_to_show import closed

HOUR_S = 3600.0


def test_a_lid_closed_for_an_hour_and_opened_in_a_cafe_is_no_message() -> None:
    """A change of network during sleep gives no message, if the hosts are connected two seconds after waking."""
    desk = Desk().sees(host("web"), host("db"))
    desk.after(60).sees(host("web", "offline"), host("db", "offline"), online=False)
    desk.after(5).sees(
        host("web", "checking"), host("db", "connecting")
    )  # the laptop is asleep in between, so the clock stopped
    desk.after(2).sees(host("web", recoveries=1), host("db", recoveries=1)).after(HOUR_S)
    desk.expect("")


def test_a_vpn_with_a_one_time_password_after_moving_is_one_message() -> None:
    """One message lists all waiting hosts, changes its text in place, and disappears when the VPN is up."""
    desk = Desk().sees(vpn("corp", "up", "db", "git"), host("db"), host("git"), host("web"))
    desk.after(60).sees(vpn("corp", "down", "db", "git"), host("db", "offline"), online=False)
    waits = [host("db", "needs-vpn", "vpn-needs-sign-in"), host("git", "needs-vpn", "vpn-needs-sign-in")]
    desk.after(20).sees(vpn("corp", "connecting", "db", "git"), *waits, host("web"))
    desk.after(8).sees(vpn("corp", "needs-sign-in", "db", "git"), *waits, host("web")).after(600)
    desk.sees(vpn("corp", "needs-sign-in", "db", "git", hint="wrong password"), *waits, host("web"))
    desk.after(30).sees(vpn("corp", "up", "db", "git"), host("db"), host("git"), host("web")).after(600)
    desk.expect("""
        93 + vpn-needs-sign-in corp: Sign in to VPN corp | db and git: connected as soon as it is up.
        688 + vpn-needs-sign-in corp: Sign in to VPN corp | db and git: connected as soon as it is up.
        wrong password
        718 - vpn-needs-sign-in corp
    """)


def test_a_vpn_flapping_ten_times_in_a_minute_is_no_message() -> None:
    """A VPN's problem that ends within seconds is never shown, and neither are the hosts behind the VPN."""
    desk = Desk().sees(vpn("corp", "up", "db"), host("db"))
    for _ in range(10):
        desk.after(3).sees(vpn("corp", "needs-sign-in", "db"), host("db", "needs-vpn", "vpn-needs-sign-in"))
        desk.after(3).sees(vpn("corp", "up", "db"), host("db"))
    desk.after(HOUR_S).expect("")


def test_a_login_that_would_be_refused_next_time_is_one_message_while_the_connection_lives() -> None:
    """One message warns about the next login while the host is still connected.

    When the connection is lost, another message explains what the user has to do.
    """
    refused = host("web", code="auth-denied", title="web would refuse the next login", hint="Fix it")
    desk = Desk().sees(host("web")).after(60).sees(refused)
    desk.after(HOUR_S).sees(refused).after(HOUR_S).sees(host("web", "needs-sign-in", "auth-denied"))
    desk.after(60).sees(host("web")).after(HOUR_S)
    desk.expect("""
        63 + refused-next-time: web: the next login will be refused | web would refuse the next login. Fix it
        7260 - refused-next-time
        7263 + auth-denied: web: sign-in needed | auth-denied
        7320 - auth-denied
    """)


def test_three_hosts_behind_one_expired_vpn_are_one_message() -> None:
    """Hosts behind an expired VPN get no message of their own, because the VPN is the cause of their failures."""
    desk = Desk().sees(vpn("corp", "up", "a", "b", "c"), host("a"), host("b"), host("c"))
    desk.after(60).sees(
        vpn("corp", "needs-sign-in", "a", "b", "c"),
        host("a", "waiting", "timed-out"),
        host("b", "needs-vpn", "vpn-needs-sign-in"),
        host("c", "needs-sign-in", "auth-denied"),
    )
    desk.after(HOUR_S).expect("""
        65 + vpn-needs-sign-in corp: Sign in to VPN corp | a, b and c: connected as soon as it is up.
    """)


def test_a_vpn_without_waiting_hosts_or_that_the_user_took_down_is_no_message() -> None:
    """A message needs a host that waits, and `down` is the user's own choice."""
    desk = Desk().sees(
        vpn("corp", "needs-sign-in"), vpn("lab", "down", "a"), host("a", "needs-vpn", "vpn-down")
    )
    desk.after(HOUR_S).expect("")


def test_a_revoked_key_is_one_message_until_the_user_has_helped() -> None:
    """A revoked key gives one message, however many equal views follow, until the user has fixed it."""
    desk = Desk().sees(host("web"))
    refused = host("web", "needs-sign-in", "auth-denied", title="web refused the key", hint="Add another")
    for _ in range(50):
        desk.after(10).sees(refused)
    desk.sees(host("web", "connecting")).after(1).sees(host("web"))
    desk.expect("""
        13 + auth-denied: web: sign-in needed | web refused the key. Add another
        500 - auth-denied
    """)


def test_a_loss_is_shown_after_half_a_minute_and_its_end_too() -> None:
    """Lost hosts share a message, and hosts that are back are removed from it."""
    desk = Desk().sees(host("a"), host("b"), host("new", "waiting", "timed-out"))
    down = [host("a", "waiting", "timed-out"), host("b", "connecting")]
    desk.after(60).sees(*down, host("new", "waiting", "timed-out")).after(60)
    desk.sees(host("a"), host("b", "connecting"), host("new", "waiting", "timed-out")).after(5)
    desk.sees(host("a"), host("b"), host("new", "waiting", "timed-out")).after(HOUR_S)
    desk.expect("""
        90 + lost: a and b: connection lost | timed-out
        120 + lost: b: connection lost
        120 + back: a: connected again
        125 - lost
        125 + back: b: connected again
    """)


def test_a_short_loss_and_its_end_are_no_message() -> None:
    """A loss of less than half a minute is not reported."""
    desk = (
        Desk().sees(host("a")).after(9).sees(host("a", "connecting")).after(29).sees(host("a", recoveries=1))
    )
    desk.after(HOUR_S).expect("")


def test_a_slowly_flapping_connection_is_shown_once_in_ten_minutes() -> None:
    """Eight minutes of forty seconds down and forty seconds up give one loss and one recovery."""
    desk = Desk().sees(host("a"))
    for _ in range(6):
        desk.after(40).sees(host("a", "connecting")).after(40).sees(host("a"))
    desk.expect("""
        70 + lost: a: connection lost
        80 - lost
        80 + back: a: connected again
    """)


def test_nothing_is_shown_while_there_is_no_network() -> None:
    """Without a network, no message is shown and messages on the screen disappear.

    A loss that was shown is ended later.
    """
    desk = Desk().sees(host("a")).after(1).sees(host("a", "waiting", "refused")).after(60)
    desk.sees(host("a", "offline"), online=False).after(HOUR_S)
    desk.sees(host("a", "connecting")).after(1).sees(host("a"))
    desk.expect("""
        31 + lost: a: connection lost | refused
        61 - lost
        3662 + back: a: connected again
    """)


def test_a_captive_portal_is_one_message_for_all() -> None:
    """A captive portal gives one message, because it causes all other problems on this network."""
    desk = Desk().sees(host("a"), host("b"), vpn("corp", "up", "b"))
    portal = [host("a", "offline", "captive-portal"), host("b", "needs-vpn", "vpn-needs-sign-in")]
    desk.after(1).sees(*portal, vpn("corp", "needs-sign-in", "b")).after(HOUR_S)
    desk.expect("""
        4 + captive-portal: This network wants you to sign in | Open a web page to do so. ssh then connects.
    """)


def test_hosts_behind_a_failed_jump_host_get_no_message() -> None:
    """Hosts behind a failed jump host get no message, because the jump host's own problem is the cause."""
    desk = Desk().sees(host("jump"), host("inner"))
    desk.after(1).sees(
        host("jump", "needs-sign-in", "auth-denied"), host("inner", "waiting", "jump-host-failed")
    )
    desk.after(HOUR_S).expect("4 + auth-denied: jump: sign-in needed | auth-denied")


def test_a_locked_agent_is_one_message_for_its_hosts() -> None:
    """Five hosts that need the same locked key share one message."""
    desk = Desk().sees(*(host(n, "needs-sign-in", "passphrase-needed", title="Unlock it") for n in "abcde"))
    desk.after(9).expect("3 + passphrase-needed: a, b, c and 2 more: a key is locked | Unlock it")


def test_a_changed_host_key_is_a_message_for_each_host() -> None:
    """Each host with a changed host key gets its own message, because each needs its own decision."""
    desk = Desk().sees(host("a", "failed", "host-key-changed"), host("b", "failed", "host-key-changed"))
    desk.after(9).expect("""
        3 + host-key-changed a: a: the host key changed | host-key-changed
        3 + host-key-changed b: b: the host key changed | host-key-changed
    """)


def test_a_forward_that_stays_closed_is_shown() -> None:
    """A forward that stays closed is shown. A port that becomes free within seconds is not."""
    forwards = [
        {"state": "failed", "spec": "8080:localhost:80", "error": "address in use"},
        {"state": "open"},
    ]
    desk = Desk().sees(host("a", forwards=forwards)).after(10).sees(host("a")).after(60)
    desk.sees(host("a", forwards=forwards)).after(HOUR_S)
    desk.expect("90 + forward-failed: a: a forward is not open | 8080:localhost:80: address in use")


def test_of_many_closed_forwards_a_few_are_listed() -> None:
    """A message about 40 failed forwards lists three of them, because notification servers cut longer texts."""
    forwards = [{"state": "failed", "spec": f"{8000 + n}:db:80", "error": "taken"} for n in range(40)]
    desk = Desk().sees(host("a", forwards=forwards)).after(60)
    listed = "8000:db:80: taken; 8001:db:80: taken; 8002:db:80: taken and 37 more"
    desk.expect(f"20 + forward-failed: a: a forward is not open | {listed}")


def test_a_configuration_with_a_mistake_is_one_message_until_it_is_fixed() -> None:
    """The message appears at once, also without a network.

    Another mistake replaces the message. A file that is saved in two steps causes no message.
    """
    desk = Desk().sees(online=False, rejected="line 3").after(0.5).sees(online=False).after(60)
    desk.sees(online=False, rejected="line 3").after(60)
    desk.sees(rejected="line 4").after(60).sees()
    desk.expect(
        """
        61.5 + configuration-rejected: The configuration has a mistake | line 3
        The previous one stays in force.
        120.5 + configuration-rejected: The configuration has a mistake | line 4
        The previous one stays in force.
        180.5 - configuration-rejected
        """
    )


def test_snooze_is_an_hour_or_until_it_is_solved() -> None:
    """A snoozed message is shown again after an hour. A new cause is shown at once."""
    refused = host("web", "needs-sign-in", "auth-denied")
    desk = Desk().sees(refused).after(10).snoozes("auth-denied").after(2 * HOUR_S)
    desk.snoozes("auth-denied").after(60).sees(host("web")).after(60).sees(refused).after(60)
    desk.expect("""
        3 + auth-denied: web: sign-in needed | auth-denied
        10 - auth-denied
        3610 + auth-denied: web: sign-in needed | auth-denied
        7210 - auth-denied
        7333 + auth-denied: web: sign-in needed | auth-denied
    """)


@pytest.mark.parametrize("away", [{"online": False}, {"paused": True}])
def test_a_dismissed_message_stays_dismissed_through_a_change_of_network(away: dict[str, bool]) -> None:
    """A dismissed message stays dismissed without a network or in a pause, when the problem's state is unknown."""
    refused, gone = host("web", "needs-sign-in", "auth-denied"), host("web", "offline", "auth-denied")
    trying = host("web", "connecting")
    for dismissed in (Desk.snoozes, Desk.closes):
        desk = Desk().sees(refused).after(4)
        dismissed(desk, "auth-denied").after(6).sees(gone, **away).after(10).sees(trying).after(1)
        desk.sees(refused).after(60)
        withdrawn = "\n4 - auth-denied" if dismissed is Desk.snoozes else "\n10 - auth-denied"
        desk.expect("3 + auth-denied: web: sign-in needed | auth-denied" + withdrawn)
        desk.sees(host("web")).after(1).sees(refused).after(4)
        assert [line for line in desk.lines if "+" in line] == [
            "85 + auth-denied: web: sign-in needed | auth-denied"
        ]


def test_a_button_that_serves_one_of_two_hosts_leaves_the_other_to_be_shown() -> None:
    """The server closes the message when its button is pressed. The second host in it is shown again."""
    first, second = (host(name, "needs-sign-in", "auth-denied") for name in "ab")
    desk = Desk().sees(first, second).after(4)
    desk.memory = closed(desk.memory, "auth-denied", "a")
    desk.after(10).sees(host("a"), second).after(HOUR_S)
    desk.expect(
        """
        3 + auth-denied: a and b: sign-in needed | auth-denied
        14 + auth-denied: b: sign-in needed | auth-denied
        """
    )


def test_a_mistake_in_the_configuration_hides_no_loss() -> None:
    """A host that waits for a jump host is still reported as lost."""
    lost = host("web", "waiting", "jump-host-failed")
    desk = Desk().sees(host("web")).after(1).sees(lost, rejected="line 3").after(60)
    desk.expect(
        """
        2 + configuration-rejected: The configuration has a mistake | line 3
        The previous one stays in force.
        31 + lost: web: connection lost | jump-host-failed
        """
    )


def test_a_closed_message_comes_back_only_with_news() -> None:
    """A closed message is shown again if a host is added, or the text changes and the user has to act.

    Fewer names do not count.
    """
    refused = [host(n, "needs-sign-in", "auth-denied", title=f"{n} refused") for n in "abc"]
    desk = Desk().sees(*refused[:2]).after(9).closes("auth-denied")
    desk.after(9).sees(refused[0]).after(9).sees(*refused[:2]).after(9)
    desk.expect("3 + auth-denied: a and b: sign-in needed | a: a refused\nb: b refused")
    desk.sees(*refused).after(9)
    desk.expect("39 + auth-denied: a, b and c: sign-in needed | a: a refused\nb: b refused\nc: c refused")
    desk.closes("auth-denied").sees(host("a", "needs-sign-in", "auth-denied", title="card missing"))
    desk.expect("45 + auth-denied: a: sign-in needed | card missing")


def test_a_closed_loss_is_not_shown_again_for_another_reason() -> None:
    """A closed message about a loss is not shown again if only the reason changes: retries may fail differently."""
    desk = Desk().sees(host("a")).after(1).sees(host("a", "waiting", "timed-out")).after(40).closes("lost")
    desk.sees(host("a", "waiting", "name-not-found")).after(HOUR_S)
    desk.expect("31 + lost: a: connection lost | timed-out")


def test_an_expired_vpn_hides_only_the_hosts_behind_it() -> None:
    """A refused key of a host outside the VPN is a separate problem."""
    desk = Desk().sees(
        vpn("corp", "needs-sign-in", "a"), host("a", "needs-vpn"), host("b", "needs-sign-in", "auth-denied")
    )
    desk.after(9).expect("""
        3 + auth-denied: b: sign-in needed | auth-denied
        5 + vpn-needs-sign-in corp: Sign in to VPN corp | a: connected as soon as it is up.
    """)


def test_nothing_is_shown_while_paused_or_about_what_the_user_ended() -> None:
    """Paused hosts, a paused agent and disconnected hosts cause no message, because they are the user's own choice."""
    desk = Desk().sees(host("a"), host("b"))
    desk.after(1).sees(host("a", "paused"), host("b", "idle")).after(HOUR_S)
    desk.sees(host("a", "failed", "host-key-changed"), paused=True).after(HOUR_S)
    desk.expect("")


@pytest.mark.parametrize(
    ("notify", "told"), [("none", ""), ("problems", ""), ("all", "6 + back: a: connected again")]
)
def test_every_recovery_is_shown_only_with_all(notify: str, told: str) -> None:
    """Recoveries are shown only with `[agent] notify = "all"`."""
    desk = Desk(notify).sees(host("a", recoveries=3))  # type: ignore[arg-type]  # mypy does not narrow it
    desk.after(5).sees(host("a", "connecting", recoveries=3)).after(1).sees(host("a", recoveries=4))
    desk.expect(told)


def test_with_none_nothing_is_shown() -> None:
    """With notify = "none" only the icon shows problems, even the worst. Messages on the screen disappear at once."""
    desk = Desk().sees(host("a", "failed", "host-key-changed")).after(9)
    desk.notify = "none"
    desk.sees(host("a", "failed", "host-key-changed")).after(HOUR_S)
    desk.expect("3 + host-key-changed a: a: the host key changed | host-key-changed\n9 - host-key-changed a")


def test_a_message_that_waits_for_the_user_stays_on_the_screen() -> None:
    """A message that needs the user stays on the screen. Other messages may disappear after a while."""
    assert {code for code, row in WARNINGS.items() if not row.stays} == {"forward-failed", "lost"}


def test_every_code_that_needs_the_user_has_a_row() -> None:
    """A problem that only the user can solve is never silent, and each button has a text."""
    needing = {c for c in CODES if STATE_OF.get(c) in {"needs-sign-in", "failed"}}
    assert needing <= WARNINGS.keys()
    assert {a for row in WARNINGS.values() for a in row.actions} == set(ACTIONS)
    assert {d for row in WARNINGS.values() for d in row.depends_on} <= WARNINGS.keys()
