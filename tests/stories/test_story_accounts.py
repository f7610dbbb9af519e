"""Many hosts with one account: after a refused login of one host, the others do not all try."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, CAFE_2, HOME, VPN_ALL
from tests.stories.teller import ALWAYS, HOST_KEY, Story
from trayagent.core.display_state import delay, display_problem
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Dial
from trayagent.core.facts.failure import FailureKind
from trayagent.core.facts.hosts import Hop, Wish
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.time_constants import LET_IN_LATELY_S, SETTLED_S, UNAUTHENTICATED_PER_SERVER

TWELVE = tuple(f"h{n}" for n in range(12))
BASTION = Hop("203.0.113.11", 22, "me", ("~/.ssh/id",))


def behind_a_bastion(story: Story) -> None:
    """Begin with twelve machines behind one bastion that is not a host itself."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(TWELVE, ALWAYS))
    for number, name in enumerate(TWELVE):
        story.resolved(name, server=f"10.99.0.{number + 10}", jump="bastion", hop=BASTION)
    story.started()


def on_one_server(story: Story) -> None:
    """Begin with twelve aliases of one machine."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(TWELVE, ALWAYS))
    for name in TWELVE:
        story.resolved(name)
    story.started()


def under_way(story: Story) -> list[str]:
    """Return the hosts with a running login."""
    return [n for n in TWELVE if n in story.state.hosts and story.host(n).attempt is not None]


def refuse_all(story: Story, *, by_jump: bool, for_s: float) -> int:
    """Refuse each login immediately, for some time. Return the number of refused logins."""
    count, until = 0, story.t + for_s
    while story.t < until:
        for name in under_way(story):
            story.fails(name, "auth", positive=not by_jump, by_jump=by_jump)
            count += 1
        story.after(5)
    return count


@pytest.mark.parametrize("by_jump", [True, False])
def test_a_key_that_is_refused_costs_two_logins_whatever_the_number_of_hosts(
    story: Story, by_jump: bool
) -> None:
    """A refused key costs two logins, at a bastion or at a server with twelve names.

    The user is notified at most twice, and every host shows why it waits.
    """
    (behind_a_bastion if by_jump else on_one_server)(story)
    assert refuse_all(story, by_jump=by_jump, for_s=3600) <= 2
    assert [story.shown(name) for name in TWELVE] == ["needs-sign-in"] * 12
    assert {story.problem(name) for name in TWELVE} == {"auth-denied"}
    assert len(story.told("sign-in-needed")) <= 2


def test_two_refusals_at_a_bastion_are_the_limit_after_a_restart_too(story: Story) -> None:
    """The next agent makes no third login at the bastion within 10 minutes, whatever changes."""
    problem = Problem("auth-denied", "it is auth")
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(TWELVE, ALWAYS))
    for name, ago_s in (("h0", 60.0), ("h1", 30.0)):
        refusal = e.Refusal("auth", problem, by_jump=True)
        story.post(
            e.Remembered(
                story.t, name, refused_ago_s=(ago_s,), refused_by_jump_ago_s=(ago_s,), refusal=refusal
            )
        )
    for number, name in enumerate(TWELVE):
        story.resolved(name, server=f"10.99.0.{number + 10}", jump="bastion", hop=BASTION)
    story.started()
    story.post(user_events.CredentialsChanged(story.t), "a key changed")
    story.after(530)
    assert not under_way(story)
    story.after(20)
    assert under_way(story)


def test_a_refusal_by_one_target_does_not_stop_the_others_behind_the_bastion(story: Story) -> None:
    """A refusal by one of twelve machines does not stop the logins to the other eleven."""
    behind_a_bastion(story)
    for _ in range(12):
        for name in under_way(story):
            if name == "h0":
                story.fails(name, "auth", positive=True)
            else:
                story.reconnected(name)
    assert story.shown("h0") == "needs-sign-in"
    assert [story.shown(name) for name in TWELVE[1:]] == ["connected"] * 11


def test_a_changed_key_releases_one_login_and_its_success_the_others(story: Story) -> None:
    """A changed key releases one login of the refused host. If it succeeds, the hosts that were held back follow."""
    on_one_server(story)
    assert refuse_all(story, by_jump=False, for_s=700) <= 2
    story.post(user_events.CredentialsChanged(story.t), "a key changed")
    assert 1 <= len(under_way(story)) <= 2
    for _ in range(12):
        for name in under_way(story):
            story.reconnected(name)
    assert [story.shown(name) for name in TWELVE] == ["connected"] * 12


def test_keys_that_change_all_the_time_lock_no_account(story: Story) -> None:
    """Each change releases twelve hosts, but only two logins are refused in ten minutes."""
    on_one_server(story)
    times: list[float] = []
    for _ in range(400):
        for name in under_way(story):
            story.fails(name, "auth", positive=True)
            times.append(story.t)
        story.after(5).post(user_events.CredentialsChanged(story.t), "a key changed")
    assert all(late - early >= 600 for early, late in zip(times, times[2:], strict=False))


def test_another_user_or_key_is_another_login(story: Story) -> None:
    """A refused login of one user does not stop another user or key on the same machine."""
    story.network(HOME)
    story.configured(web=ALWAYS, root=ALWAYS)
    story.resolved("web", user="me")
    story.resolved("root", user="root")
    story.started()
    story.fails("web", "auth", positive=True)
    story.reconnected("root")
    assert (story.shown("web"), story.shown("root")) == ("needs-sign-in", "connected")


def test_a_reconnect_of_all_costs_no_more_logins(story: Story) -> None:
    """`trayagent reconnect` of twelve hosts with a refused key causes at most two logins."""
    on_one_server(story)
    assert refuse_all(story, by_jump=False, for_s=700) <= 2
    story.post(user_events.UserReconnect(story.t, TWELVE), "reconnect")
    assert refuse_all(story, by_jump=False, for_s=60) <= 2
    assert [story.shown(name) for name in TWELVE] == ["needs-sign-in"] * 12


def test_a_living_master_whose_login_is_held_back_is_judged_without_one(story: Story) -> None:
    """After a move, a master whose account refused another host gets only a bare control."""
    story.connected("web", scene=HOME)
    story.configured(web=ALWAYS, twin=ALWAYS)
    story.resolved("twin")
    story.after(1).fails("twin", "auth", positive=True)
    story.forget()
    story.network(CAFE)
    assert not story.did(Dial, "web")
    attempt = story.host("web").attempt
    assert attempt is not None
    assert attempt.bare


def refused_twice(story: Story) -> None:
    """Begin with twelve hosts of one account. All were connected, and two were refused just now."""
    for name in TWELVE:
        story.connected(name, scene=HOME)
    story.after(3600)
    for name in TWELVE:
        story.ended(name, kind="died")
    begun = under_way(story)
    for name in begun:
        story.fails(name, "auth", positive=True)
    assert len(begun) == 2
    assert not under_way(story)


def test_a_success_clears_the_refusals_before_it_on_every_network(story: Story) -> None:
    """After two refusals, one successful login brings back all other hosts of the account, on every network."""
    refused_twice(story)
    story.post(user_events.UserReconnect(story.t, ("h0",)), "reconnect")
    story.reconnected("h0")
    for _ in range(12):
        for name in under_way(story):
            story.reconnected(name)
    assert [story.shown(name) for name in TWELVE] == ["connected"] * 12
    story.after(60).network(CAFE)
    assert under_way(story), "a login is made at once on the next network"


def test_after_a_success_two_more_refusals_are_the_limit_again(story: Story) -> None:
    """After a success, the account may be refused two more times, not more."""
    refused_twice(story)
    story.post(user_events.UserReconnect(story.t, ("h0",)), "reconnect")
    story.reconnected("h0")
    story.after(LET_IN_LATELY_S)
    for name in under_way(story):
        story.fails(name, "auth", positive=True)
    for name in TWELVE[1:]:
        if story.host(name).attempt is None and story.host(name).master is None:
            story.post(user_events.CredentialsChanged(story.t), "a key changed")
    assert refuse_all(story, by_jump=False, for_s=590) <= 2


def test_a_machine_that_lets_anybody_in_clears_nothing(story: Story) -> None:
    """A successful login without a verified host key proves nothing about the account."""
    story.network(HOME)
    story.configured(web=ALWAYS, api=ALWAYS, loose=ALWAYS)
    for name in ("web", "api"):
        story.resolved(name)
    story.resolved("loose", strict="no")
    story.started()
    for name in ("web", "loose"):
        if story.host(name).attempt is not None:
            story.fails(name, "auth", positive=True)
    story.post(user_events.UserReconnect(story.t, ("loose",)), "reconnect")
    before = story.host("web").login.refused
    story.ready("loose")
    assert before
    assert story.host("web").login.refused == before


def test_a_login_through_a_living_jump_host_clears_nothing_there(story: Story) -> None:
    """A login that the jump host's own master carries is no login to the jump host."""
    behind_a_bastion(story)
    assert refuse_all(story, by_jump=True, for_s=5) >= 1
    refused = {name: story.host(name).login.refused for name in TWELVE}
    story.configured(wishes={**dict.fromkeys(TWELVE, ALWAYS), "bastion": ALWAYS})
    story.resolved("bastion", server=BASTION.hostname, user="me")
    story.found("bastion", peer=BASTION.hostname)
    story.post(user_events.UserReconnect(story.t, ("h3",)), "reconnect")
    story.reconnected("h3")
    assert {name: story.host(name).login.refused for name in TWELVE if refused[name]} == {
        name: times for name, times in refused.items() if times
    }


def test_a_host_that_waits_for_refusals_to_pass_says_so(story: Story) -> None:
    """A host that waits because of two refusals shows that reason, and the time of the next login."""
    refused_twice(story)
    first = min(at for name in TWELVE for at in story.host(name).login.refused)
    story.configured(wishes={**dict.fromkeys(TWELVE, ALWAYS), "other": ALWAYS})
    plain = story.host("h0").resolved
    assert plain is not None
    other_key = replace(plain, host="other", control_path="/cm/other", identity_files=("~/.ssh/other",))
    story.post(e.HostResolved(story.t, "other", other_key, story.host("h0").hop))
    waits = delay(story.host("other"), story.state, story.t)
    problem = display_problem(story.host("other"), story.state, story.t)
    assert waits is not None
    assert waits.at == pytest.approx(first + 600)
    assert problem is not None
    assert (problem.code, "refused 2 logins" in problem.title) == ("rate-limited", True)


def test_hosts_follow_one_that_was_let_in_as_fast_as_their_server_allows(story: Story) -> None:
    """Before the first success, an account gets two logins at a time. After it, six."""
    behind_a_bastion(story)
    assert len(under_way(story)) == 1
    story.reconnected(under_way(story)[0])
    assert len(under_way(story)) == UNAUTHENTICATED_PER_SERVER
    story.fails(under_way(story)[0], "auth", by_jump=True)
    assert len(under_way(story)) == UNAUTHENTICATED_PER_SERVER - 1, "after a refusal, none is added"


@pytest.mark.parametrize("change", ["time", "network", "keys"])
def test_a_success_is_believed_for_a_minute_in_its_own_network(story: Story, change: str) -> None:
    """A success counts for a minute on its network.

    Later, elsewhere or with changed keys, two logins at a time run again.
    """
    for name in TWELVE:
        story.connected(name, scene=HOME)
    story.after(3600).ended("h0", kind="died")
    story.reconnected("h0")
    if change == "time":
        story.after(LET_IN_LATELY_S)
    if change == "network":
        story.network(CAFE_2)
    if change == "keys":
        story.post(user_events.CredentialsChanged(story.t), "a key changed")
    for name in TWELVE:
        if story.host(name).master is not None:
            story.ended(name, kind="died")
    assert len(under_way(story)) == 2
    assert {story.shown(name) for name in TWELVE} == {"connecting", "waiting"}
    waiting = next(name for name in TWELVE if story.shown(name) == "waiting")
    problem = display_problem(story.host(waiting), story.state, story.t)
    assert problem is not None
    assert "another login to its account is in progress" in problem.title


def test_a_success_outside_a_vpn_is_not_believed_inside_it_behind_a_bastion(story: Story) -> None:
    """A VPN that takes over the route to a bastion is another network, so only two logins at a time run there."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(TWELVE, ALWAYS))
    for name in TWELVE:
        story.resolved(name, server=f"{name}.corp", jump="bastion", hop=Hop("bastion.example.net", 22, "me"))
    story.started()
    for _ in range(3):
        for name in under_way(story):
            story.reconnected(name, direct=False)
    assert [story.shown(name) for name in TWELVE] == ["connected"] * 12
    story.after(10).network(HOME + VPN_ALL)
    for name in TWELVE:
        story.ended(name, kind="died")
    assert len(under_way(story)) == 2


@pytest.mark.parametrize("kind", ["closed", "timed-out"])
def test_logins_that_end_without_a_word_may_be_refusals(story: Story, kind: FailureKind) -> None:
    """After logins that end without a message, an account gets two logins in ten minutes. Old connections stay."""
    for name in TWELVE:
        story.connected(name, scene=HOME)
    story.after(3600).network(CAFE)
    times: list[float] = []
    while story.t < 3600 + 1750:
        for name in under_way(story):
            story.established(name)
            story.fails(name, kind, perhaps_refused=True)
            times.append(story.t)
        story.after(5)
    assert len(times) >= 4
    assert all(late - early >= 600 for early, late in zip(times, times[2:], strict=False))
    assert all(story.host(name).master is not None for name in TWELVE)
    assert {story.shown(name) for name in TWELVE} == {"waiting"}
    assert not story.told("sign-in-needed")


def test_a_success_clears_what_may_have_been_a_refusal(story: Story) -> None:
    """After a server rebooted during two logins, no host waits for ten minutes."""
    for name in TWELVE:
        story.connected(name, scene=HOME)
    story.after(3600)
    for name in TWELVE:
        story.ended(name, kind="died")
    for name in under_way(story):
        story.fails(name, "closed", perhaps_refused=True)
    story.post(user_events.UserReconnect(story.t, ("h5",)), "reconnect")
    story.reconnected("h5")
    for _ in range(12):
        for name in under_way(story):
            story.reconnected(name)
    assert [story.shown(name) for name in TWELVE] == ["connected"] * 12


def test_after_a_possible_refusal_no_login_is_added_to_those_in_progress(story: Story) -> None:
    """After a possible refusal, the earlier success does not count any more, so no further login starts."""
    on_one_server(story)
    story.reconnected(under_way(story)[0])
    begun = under_way(story)
    assert len(begun) == UNAUTHENTICATED_PER_SERVER
    story.fails(begun[0], "closed", perhaps_refused=True)
    story.after(5)
    assert under_way(story) == begun[1:]
    story.reconnected(begun[1])
    assert len(under_way(story)) == UNAUTHENTICATED_PER_SERVER


@pytest.mark.parametrize("names", [("web",), ("w1", "w2", "w3", "w4", "w5", "w6")])
def test_an_edited_list_of_hosts_costs_no_third_refused_login(story: Story, names: tuple[str, ...]) -> None:
    """A host that is removed and listed again, or renamed, still has the same account and its limit."""
    story.network(HOME)
    refused = 0
    for number in range(6):
        name = names[number % len(names)]
        story.configured(wishes={name: ALWAYS})
        story.resolved(name)
        story.started()
        if story.host(name).attempt is not None:
            story.fails(name, "auth", positive=True)
            refused += 1
        story.after(30)
        story.configured(wishes={})
        story.after(30)
    assert refused == 2
    story.after(600)
    story.configured(wishes={"web": ALWAYS})
    story.resolved("web")
    assert story.host("web").attempt is not None


@pytest.mark.parametrize("differ", ["the last jump host", "the first jump host", "nothing"])
def test_a_key_that_is_refused_in_a_chain_of_jump_hosts_costs_two_logins(story: Story, differ: str) -> None:
    """Any jump host of a chain may have refused a login, so the refusal counts for each jump host."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(TWELVE, ALWAYS))
    for number, name in enumerate(TWELVE):
        first = Hop(f"203.0.113.{number + 20}", 22, "me", ("~/.ssh/id",)) if "first" in differ else BASTION
        jumps = f"{f'gate{number}' if 'first' in differ else 'gate'},{f'in{number}' if 'last' in differ else 'in'}"
        story.resolved(name, server=f"10.99.0.{number + 10}", jump=jumps, hop=first)
    story.started()
    assert refuse_all(story, by_jump=True, for_s=590) <= 2


@pytest.mark.parametrize("shown_by", ["an address", "a host key"])
def test_a_jump_host_that_only_other_jump_hosts_name_refuses_two_logins(story: Story, shown_by: str) -> None:
    """If twelve chains share a jump host that only other jump hosts name, it sees two refused logins in ten minutes."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(TWELVE, ALWAYS))
    for number, name in enumerate(TWELVE):
        first = Hop(f"203.0.113.{number + 20}", 22, "me", ("~/.ssh/id",))
        alias = "in" if "address" in shown_by else f"in{number}"
        inner = Hop(
            f"{alias}.example", 22, "me", ("~/.ssh/id",), frozenset({HOST_KEY} if "key" in shown_by else ())
        )
        last = Hop(f"last{number}.example", 22, "me", ("~/.ssh/id",))
        server = f"10.99.0.{number + 10}"
        story.resolved(name, server=server, jump=f"last{number}", hop=(first, inner, last))
    story.started()
    assert refuse_all(story, by_jump=True, for_s=590) <= 2


def test_a_jump_host_behind_a_command_refuses_two_logins(story: Story) -> None:
    """A jump host behind a ProxyCommand also has an account, so it sees two refused logins."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(TWELVE, ALWAYS))
    for number, name in enumerate(TWELVE):
        story.resolved(name, server=f"10.99.0.{number + 10}", jump="bastion", hop=(None, BASTION))
    story.started()
    assert refuse_all(story, by_jump=True, for_s=590) <= 2


def test_a_refusal_behind_a_jump_host_counts_for_that_hosts_own_login(story: Story) -> None:
    """Logins that a jump host refuses to the hosts behind it count for the jump host's own login, too."""
    story.network(HOME)
    story.configured(gate=Wish(listed=True, connect="on-use"), h0=ALWAYS, h1=ALWAYS)
    story.resolved("gate", server=BASTION.hostname, user="me")
    for name in ("h0", "h1"):
        story.resolved(name, server=f"10.99.0.1{name[1]}", jump="gate,in", hop=BASTION)
    story.found("gate", unnamed=False)
    story.started()
    for name in ("h0", "h1"):
        if story.host(name).attempt is None:
            story.post(user_events.UserReconnect(story.t, (name,)), "reconnect")
        story.fails(name, "auth", by_jump=True)
    story.ended("gate", kind="died")
    assert not story.did(Dial, "gate")


def test_logins_that_moves_cut_short_count_as_refused(story: Story) -> None:
    """If the network changes after the server proved its host key, the refusal may have been on its way.

    So after two such logins the agent waits, on any network, until the first is ten minutes old.
    """
    story.network(HOME)
    story.configured(wishes={"web": ALWAYS})
    story.resolved("web")
    story.started()
    story.unanswered.add("web")
    for scene in (CAFE, HOME, CAFE, HOME):
        if story.host("web").attempt is not None:
            story.established("web")
        story.after(0.2).network(scene)
        story.after(SETTLED_S)
    assert len(story.did(Dial)) == 2
    story.after(600)
    assert len(story.did(Dial)) == 3


def test_a_move_during_logins_to_an_account_that_works_causes_a_short_wait(story: Story) -> None:
    """All logins that one move cuts short count once. So the next login begins soon, and its success ends the count."""
    story.network(HOME)
    for name in TWELVE[:3]:
        story.post(e.Remembered(story.t, name, login_worked_ago_s=3600.0))
    story.configured(wishes=dict.fromkeys(TWELVE[:3], ALWAYS))
    for name in TWELVE[:3]:
        story.resolved(name)
    story.started()
    assert under_way(story)[:3] == ["h0", "h1"]
    story.unanswered.update(TWELVE)
    for name in ("h0", "h1"):
        story.established(name)
    story.after(0.2).network(CAFE)
    (first,) = under_way(story.after(SETTLED_S))
    story.ready(first)
    assert len(story.did(Dial, "h0") + story.did(Dial, "h1") + story.did(Dial, "h2")) == 5


def test_a_flapping_network_causes_no_long_wait(story: Story) -> None:
    """After a login that a change cut short, the next one begins once the network is stable, so its answer is read."""
    story.network(HOME)
    story.configured(wishes={"web": ALWAYS})
    story.resolved("web")
    story.started()
    story.unanswered.add("web")
    for scene in (CAFE, HOME) * 10:
        if story.host("web").attempt is not None:
            story.established("web")
        story.after(0.3).network(scene)
    assert len(story.did(Dial)) == 1
    story.after(SETTLED_S)
    story.reconnected("web")
    assert story.shown("web") == "connected"


def test_a_network_that_never_rests_holds_no_login_up_for_long(story: Story) -> None:
    """If the network changes all the time, the next login begins 30 s after the one that was cut short."""
    story.network(HOME)
    story.configured(wishes={"web": ALWAYS})
    story.resolved("web")
    story.started()
    story.unanswered.add("web")
    story.established("web")
    for scene in (CAFE, HOME) * 18:
        story.after(0.8).network(scene)
    assert len(story.did(Dial)) == 1
    for scene in (CAFE, HOME) * 2:
        story.after(0.8).network(scene)
    assert len(story.did(Dial)) > 1
