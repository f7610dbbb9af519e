"""A server that ends each connection right after its login."""

from __future__ import annotations

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import ALWAYS, Story
from trayagent.core.display_state import delay
from trayagent.core.facts.actions import Dial
from trayagent.core.facts.network import Touched
from trayagent.core.facts.user_events import UserReconnect

LIFE_S = 0.5


def begin(story: Story, *names: str) -> None:
    """Begin at home with these hosts, which log in."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(names, ALWAYS))
    for name in names:
        story.resolved(name, user=name)
    story.started()


def cut(story: Story, name: str = "web", life_s: float = LIFE_S) -> float:
    """Let the host's login succeed, and the server end its connection. Return the pause before the next login."""
    story.reconnected(name)
    story.after(life_s)
    story.ended(name, kind="died")
    waits = delay(story.host(name), story.state, story.t)
    return 0.0 if waits is None or waits.at is None else waits.at - story.t


def test_the_pause_doubles_while_the_server_ends_each_connection(story: Story) -> None:
    """The agent waits 1, 2, 4 s and so on. So the server sees five logins in half a minute, not twenty."""
    begin(story, "web")
    pauses = []
    while story.t < 30:
        pauses.append(cut(story))
        assert (story.shown("web"), story.problem("web")) == ("waiting", "rate-limited")
        assert "cut_short" in story.why("web")
        assert not story.did(Dial)
        story.after(pauses[-1])
        assert len(story.did(Dial)) == 1
    assert pauses == [1, 2, 4, 8, 16]


def test_the_pause_has_a_limit(story: Story) -> None:
    """After many such connections, the agent still tries every 5 minutes."""
    begin(story, "web")
    for _ in range(12):
        pause = cut(story)
        story.after(pause)
    assert pause == 300


def test_another_network_ends_the_pause(story: Story) -> None:
    """On another network the agent logs in at once, because the last network may have ended the connection."""
    begin(story, "web")
    for _ in range(4):
        story.after(cut(story))
    assert cut(story) == 16
    story.network(CAFE)
    assert len(story.did(Dial)) == 1


def test_a_connection_that_lived_starts_again_without_a_pause(story: Story) -> None:
    """The server ended a connection after 10 s: the next login begins at once, and later pauses are short again."""
    begin(story, "web")
    for _ in range(4):
        story.after(cut(story))
    assert cut(story, life_s=10) == 0
    assert len(story.did(Dial)) == 1
    assert cut(story) == 1


def test_an_end_by_the_network_causes_no_pause(story: Story) -> None:
    """If the network flickers right after a login and ssh ends, the host is connected again at once."""
    begin(story, "web")
    story.reconnected("web")
    story.after(LIFE_S)
    story.network(HOME, Touched(links=frozenset({"wlan0"})))
    story.ended("web", kind="died")
    assert len(story.did(Dial)) == 1


def test_the_end_of_an_old_master_beside_a_new_login_causes_no_pause(story: Story) -> None:
    """If the old master ends just before the user's new one replaces it, the last login was that of the new one."""
    story.connected("web", scene=HOME)
    story.after(60)
    story.post(UserReconnect(story.t, ("web",)))
    story.reconnected("web")
    assert story.host("web").login.cut_short is None


def test_the_user_does_not_wait_for_the_pause(story: Story) -> None:
    """`trayagent reconnect` logs in at once."""
    begin(story, "web")
    for _ in range(3):
        story.after(cut(story))
    assert cut(story) == 8
    story.post(UserReconnect(story.t, ("web",)))
    assert len(story.did(Dial)) == 1


def test_two_hosts_of_such_a_server_do_not_end_each_others_pauses(story: Story) -> None:
    """The login of one host succeeds, but the other one waits for the end of its own pause."""
    begin(story, "web", "db")
    for _ in range(3):
        cut(story)
        story.after(cut(story, "db"))
    cut(story)
    assert cut(story, "db") == 8
    story.after(7.6)
    story.reconnected("web")
    assert not story.did(Dial, "db")
    story.after(0.5)
    assert story.did(Dial, "db")
