"""Hosts behind a jump host: the jump host connects first, and its failures do not count for the hosts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, HOME, HOME_6
from tests.stories.teller import ALWAYS, ON_USE, Story
from trayagent.core.display_state import delay
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.actions import Dial, Kill, SendProbe, TakeOver
from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.hosts import ForwardState, Hop, Wish
from trayagent.core.facts.network import Touched
from trayagent.core.facts.resolved import Jump, Resolved

INTERNAL = "10.99.0.10"


def dialled(story: Story, name: str) -> int:
    """Return the number of logins so far."""
    return len(story.did(Dial, name))


@pytest.mark.parametrize(
    ("text", "jumps"),
    [
        ("gate", (Jump("gate"),)),
        ("me@gate:2222", (Jump("gate", "me", 2222),)),
        ("ssh://me@gate:2222", (Jump("gate", "me", 2222),)),
        ("[fd00::1]:2222", (Jump("fd00::1", "", 2222),)),
        ("me@[fd00::1]", (Jump("fd00::1", "me"),)),
        ("a@one:1,two,[fd00::3]:3", (Jump("one", "a", 1), Jump("two"), Jump("fd00::3", "", 3))),
        ("me@example.org@gate", (Jump("gate", "me@example.org"),)),
    ],
)
def test_every_spelling_of_a_jump_host_is_read(text: str, jumps: tuple[Jump, ...]) -> None:
    """A jump host is parsed in every form that ssh_config(5) allows."""
    resolved = Resolved("inner", INTERNAL, proxy_jump=text)
    assert resolved.jumps == jumps
    assert replace(resolved, proxy_jump=None).jumps == ()


@pytest.mark.parametrize(
    "spelling", ["jump", "me@jump", "jump:2222", "ssh://jump:2222", "[fd00::1]:2222", "outer,me@jump:2222"]
)
def test_the_jump_host_goes_first_however_it_is_spelled(story: Story, spelling: str) -> None:
    """The jump host connects first, whether it is named by its alias or by the alias's address and port."""
    story.network(HOME_6)
    story.configured(inner=ALWAYS, jump=ALWAYS)
    story.resolved("inner", server=INTERNAL, jump=spelling, hop=Hop("fd00::1", 2222))
    story.resolved("jump", server="fd00::1", port=2222)
    story.started()
    assert dialled(story, "inner") == 0
    story.ready("jump")
    story.took_over("jump")
    assert dialled(story, "inner") == 1


def behind(story: Story, *names: str) -> None:
    """Begin with connected hosts behind a listed jump host that is connected, too."""
    carrier = story.connected("jump", scene=HOME_6, server="fd00::1", local="2001:db8:10::2")
    for number, name in enumerate(names):
        server = f"10.99.0.{10 + number}"
        story.connected(
            name, server=server, carrier=carrier.pid, direct=False, local=carrier.local, peer=carrier.peer
        )
        story.resolved(name, server=server, jump="jump", hop=Hop("fd00::1", 22))
    story.after(60)


@pytest.mark.parametrize("jump_lives", [True, False])
def test_hosts_that_died_before_their_jump_host_wait_until_it_answers(
    story: Story, *, jump_lives: bool
) -> None:
    """If masters behind a jump host die, the agent probes the jump host first, because it may be dead, too."""
    behind(story, "a", "b")
    story.ended("a", kind="died")
    story.ended("b", kind="died")
    assert story.did(SendProbe, "jump")
    assert dialled(story, "a") == dialled(story, "b") == 0
    assert story.shown("a") == "waiting"
    if jump_lives:
        story.after(0.05).answered("jump")
        assert dialled(story, "a") == dialled(story, "b") == 1
        return
    story.ended("jump", kind="died")
    story.fails("jump", "refused")
    assert dialled(story, "jump") == 1
    assert dialled(story, "a") == dialled(story, "b") == 0


def test_hosts_behind_a_jump_host_that_reboots_wait_for_it(story: Story) -> None:
    """Four hosts wait for a rebooting jump host without attempts. They show the reason and time, and follow at once."""
    names = ("a", "b", "c", "d")
    behind(story, *names)
    for name in ("jump", *names):
        story.ended(name, kind="died")
    story.forget()
    for _ in range(8):
        story.fails("jump", "refused")
        due = story.host("jump").retry.at
        assert due is not None
        for name in names:
            assert (story.shown(name), story.problem(name)) == ("waiting", "jump-host-failed")
            delayed = delay(story.host(name), story.state, story.t)
            assert delayed is not None
            assert delayed.at == due
        story.after(due - story.t + 0.01)
    assert sum(dialled(story, name) for name in names) == 0
    story.forget()
    story.reconnected("jump")
    story.after(0)
    assert [story.host(name).attempt is not None for name in names] == [True] * 4


def test_a_failure_at_a_jump_host_is_forgotten_when_that_is_back(story: Story) -> None:
    """A login that failed because the jump host went down is repeated as soon as the jump host is connected."""
    behind(story, "a")
    story.ended("a", kind="died")
    story.after(0.05).answered("jump")
    assert dialled(story, "a") == 1
    story.ended("jump", kind="died")
    story.fails("jump", "refused")
    story.fails("a", "refused", by_jump=True)
    story.forget()
    story.after(1)
    assert dialled(story, "a") == 0
    story.reconnected("jump")
    story.after(0)
    assert story.host("a").attempt is not None


def test_a_host_behind_a_local_forward_waits_for_the_host_that_has_it(story: Story) -> None:
    """If `inner` connects to a local forward of `web`, `web` is judged and connected first."""
    carrier = story.connected("web", scene=HOME)
    forward = ForwardState(parse("local", "2222:10.99.0.10:22"), "open")
    story.post(e.ForwardsChanged(story.t, "web", carrier.pid, (forward,)), "the forward is open")
    story.connected(
        "inner", ON_USE, server="127.0.0.1", carrier=carrier.pid, direct=False, local=carrier.local,
        peer=carrier.peer,
    )  # fmt: skip
    story.resolved("inner", server="localhost", port=2222)
    story.after(60).network(CAFE)
    assert dialled(story, "web") == 1
    assert dialled(story, "inner") == 0
    story.ready("web")
    story.after(1)
    assert not story.did(Kill, "inner")
    story.ended("inner", kind="died")
    assert dialled(story, "inner") == 0
    story.took_over("web")
    story.after(0)
    assert dialled(story, "inner") == 1


def died_alone(story: Story, *names: str) -> None:
    """Let the masters of hosts die while the jump host's master answers, and clear the transcript."""
    for name in names:
        story.ended(name, kind="died")
    story.after(0.05).answered("jump")
    story.forget()


def test_a_jump_host_that_needs_the_user_is_waited_for(story: Story) -> None:
    """A host waits while its jump host needs the user. A request of the user is carried out nevertheless."""
    behind(story, "a")
    story.ended("jump", kind="died")
    story.fails("jump", "auth", positive=True)
    story.forget()
    story.ended("a", kind="died")
    story.after(3600)
    assert dialled(story, "a") == 0
    story.post(user_events.UserReconnect(story.t, ("a",)), "reconnect a")
    assert dialled(story, "a") == 1


def test_a_jump_host_whose_connection_is_silent_is_found_by_a_login_through_it(story: Story) -> None:
    """If a login through a jump host times out, the jump host's master is probed.

    If it is silent, a control decides.
    """
    behind(story, "a")
    died_alone(story, "a")
    story.after(40).fails("a", "timed-out")
    assert len(story.did(SendProbe, "jump")) == 1
    story.after(1)
    assert dialled(story, "jump") == 1
    assert not [x for x in story.actions if isinstance(x, (Kill, TakeOver))]
    story.ready("jump")
    assert story.did(TakeOver, "jump")
    story.took_over("jump")
    story.after(1)
    assert story.host("a").attempt is not None


def test_a_jump_host_that_answers_is_kept_whatever_fails_behind_it(story: Story) -> None:
    """A jump host that answers its probes stays connected while a server behind it is down.

    It is probed only now and then.
    """
    behind(story, "a")
    died_alone(story, "a")
    for _ in range(4):
        story.after((story.host("a").retry.at or 0) - story.t + 40)
        story.fails("a", "timed-out")
        story.after(0.1)
        if story.host("jump").doubt.probe is not None:
            story.answered("jump")
        assert story.shown("jump") == "connected"
    assert 1 <= len(story.did(SendProbe, "jump")) <= 4
    assert dialled(story, "jump") == 0
    assert not [x for x in story.actions if isinstance(x, (Kill, TakeOver))]


def test_a_timed_out_login_probes_no_jump_host_that_has_just_answered(story: Story) -> None:
    """If several hosts behind a jump host time out in the same second, the jump host is probed once."""
    behind(story, "a", "b", "c")
    died_alone(story, "a", "b", "c")
    story.after(40)
    for name in ("a", "b", "c"):
        if story.host(name).attempt is not None:
            story.fails(name, "timed-out")
    story.after(0.1).answered("jump")
    assert len(story.did(SendProbe, "jump")) == 1


@pytest.mark.parametrize(("port", "known"), [(22, ("203.0.113.11",)), (3128, ())])
def test_the_jump_hosts_address_is_learned_unless_a_proxy_leads_to_it(
    story: Story, port: int, known: tuple[str, ...]
) -> None:
    """A connection to the jump host's own port shows its address. Another port belongs to a proxy before it."""
    story.network(HOME)
    story.configured(web=ALWAYS)
    story.resolved("web", server="web.corp", jump="gate", hop=Hop("gate.example.net", 22))
    story.found("web", peer="203.0.113.11", peer_port=port, direct=False)
    assert story.host("web").addresses == known


def test_a_forged_error_of_ssh_config_stops_the_host_on_this_path_only(story: Story) -> None:
    """A café that impersonates the jump host may print ssh's own error about ssh_config.

    At home, the login is retried.
    """
    story.network(HOME)
    story.configured(inner=ALWAYS)
    story.resolved("inner", server=INTERNAL, jump="jump", hop=Hop("203.0.113.11", 22))
    story.started()
    story.network(CAFE)
    story.fails("inner", "config", by_jump=True)
    story.after(3600)
    before = dialled(story, "inner")
    story.network(HOME)
    assert dialled(story, "inner") == before + 1


@pytest.mark.parametrize("gone", [True, False])
def test_any_server_behind_a_jump_host_suffices_only_if_the_address_is_gone(story: Story, gone: bool) -> None:
    """A bare control ends at the jump host, whose key says nothing about the host behind it.

    If the old connection's address is gone, any answer proves that a new connection would work. Otherwise it ends
    nothing.
    """
    wish = Wish(listed=True, connect="always", interactive=True)
    story.connected("inner", wish, scene=HOME, server=INTERNAL, peer="203.0.113.11", direct=False)
    story.resolved("inner", server=INTERNAL, jump="gate", hop=Hop("203.0.113.11", 22))
    story.forget()
    story.after(60).network(CAFE if gone else HOME, Touched(links=frozenset({"wlan0"})))
    story.after(3)
    if story.host("inner").attempt is not None:
        story.established("inner")
        story.ready("inner", bare=True, host_key=None, trusted=False)
    story.after(10)
    assert len(story.did(Kill, "inner")) == gone
