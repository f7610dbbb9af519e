"""One server under many names or ports: its host key shows that the account is the same."""

from __future__ import annotations

import pytest

from tests.stories.scenes import CAFE, HOME
from tests.stories.teller import ALWAYS, HOST_KEY, SERVER, Story
from trayagent.core.display_state import display_problem
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.resolved import HostKeyChecking

NAMES = tuple(f"n{number}" for number in range(6))
KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256")
KEY_TYPE_EACH = "a key of another type under each name"
TWELVE = tuple(f"h{number}" for number in range(12))


def begin(story: Story, how: str) -> None:
    """Begin with six hosts of one server and user, without any earlier login."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(NAMES, ALWAYS))
    for number, name in enumerate(NAMES):
        if how.startswith("known") or (how == "half of the names are known" and number % 2):
            story.known_keys[name] = [HOST_KEY]
        if how == KEY_TYPE_EACH:
            story.known_keys[name] = [f"{KEY_TYPES[number % len(KEY_TYPES)]} SHA256:web"]
        if how == "known ports":
            story.resolved(name, port=22 + number, user="me")
        else:
            strict: HostKeyChecking = "ask" if how == "known names" else "accept-new"
            story.resolved(name, server=f"{name}.example", user="me", strict=strict)
    story.started()


def under_way(story: Story) -> list[str]:
    """Return the hosts with a running login."""
    return [name for name, host in story.state.hosts.items() if host.attempt is not None]


def refuse_all(story: Story, for_s: float) -> list[float]:
    """Refuse each login after a second, for some time. Return the times of the refusals."""
    times: list[float] = []
    until = story.t + for_s
    while story.t < until:
        begun = under_way(story)
        story.after(1)
        for name in begun:
            story.fails(name, "auth", positive=True)
            times.append(story.t)
    return times


def at_most_two_in_ten_minutes(times: list[float]) -> bool:
    """Report whether no three of them lie within ten minutes."""
    return all(late - early >= 600 for early, late in zip(times, times[2:], strict=False))


@pytest.mark.parametrize(
    "how", ["known names", "known ports", "new names", "half of the names are known", KEY_TYPE_EACH]
)
def test_one_server_under_six_names_refuses_two_logins_in_ten_minutes(story: Story, how: str) -> None:
    """A server with six names or ports sees two refused logins in ten minutes, and one for each name."""
    begin(story, how)
    times = refuse_all(story, 3600)
    assert len(times) == len(NAMES)
    assert at_most_two_in_ten_minutes(times)


def test_names_whose_keys_differ_are_different_servers(story: Story) -> None:
    """Names with different host keys are different servers, so all twelve connect at once."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(TWELVE, ALWAYS))
    for name in TWELVE:
        story.known_keys[name] = [f"key of {name}"]
        story.resolved(name, server=f"{name}.example", user="me")
    story.started()
    assert under_way(story) == list(TWELVE)


def test_a_new_name_waits_for_no_more_than_its_turn(story: Story) -> None:
    """Logins to servers with unknown keys run two at a time. Those to known servers run at once, in parallel."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys((*TWELVE[:8], *NAMES), ALWAYS))
    for name in NAMES:
        story.resolved(name, server=f"{name}.example", user="me", strict="accept-new")
    for name in TWELVE[:8]:
        story.known_keys[name] = [f"key of {name}"]
        story.resolved(name, server=f"{name}.example", user="me")
    story.started()
    assert set(under_way(story)) >= set(TWELVE[:8])
    for _ in range(14):
        new = [name for name in under_way(story) if name in NAMES]
        assert len(new) <= 2
        for name in under_way(story)[:1]:
            story.ready(name, host_key=f"key of {name}")
            story.took_over(name)
    assert {story.shown(name) for name in (*TWELVE[:8], *NAMES)} == {"connected"}


def test_a_login_under_another_name_clears_the_refusals(story: Story) -> None:
    """A successful login under one name clears the refusals under the server's other names."""
    begin(story, "known names")
    assert len(refuse_all(story, 60)) == 2
    waiting = next(name for name in NAMES if story.host(name).retry.kind is None)
    assert story.problem(waiting) == "rate-limited"
    story.post(user_events.UserReconnect(story.t, (waiting,)), "reconnect")
    story.reconnected(waiting)
    assert under_way(story)


def test_a_reconnect_of_all_names_costs_two_logins(story: Story) -> None:
    """`trayagent reconnect` of six names of one server with a refused key makes two logins."""
    begin(story, "known names")
    refuse_all(story, 700)
    story.after(600).post(user_events.UserReconnect(story.t, NAMES), "reconnect")
    assert len(refuse_all(story, 60)) <= 2


def test_the_next_agent_counts_the_refusals_of_the_other_names(story: Story) -> None:
    """After a restart, a remembered refusal of one name counts for the server's other names."""
    story.network(CAFE)
    story.configured(wishes=dict.fromkeys(NAMES, ALWAYS))
    for name in NAMES[:2]:
        remembered = e.Remembered(story.t, name, refused_ago_s=(60.0,), refusing_key=HOST_KEY)
        story.post(remembered, "remembered")
    for name in NAMES:
        story.resolved(name, server=f"{name}.example", user="me", strict="accept-new")
    story.started()
    story.after(530)
    assert not under_way(story)
    story.after(20)
    assert 1 <= len(under_way(story)) <= 2


LIAR = "ssh-ed25519 SHA256:liar"


def with_another_machines_key(story: Story) -> None:
    """Begin with names of one server. The first has no host key check, and logged in to another machine last time."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(NAMES, ALWAYS))
    story.post(e.Remembered(story.t, NAMES[0], host_key=LIAR), "remembered")
    for name in NAMES:
        story.known_keys[name] = [HOST_KEY]
        strict: HostKeyChecking = "no" if name == NAMES[0] else "ask"
        story.resolved(name, server=f"{name}.example", user="me", strict=strict)
    story.started()


def test_a_refusal_counts_for_the_key_that_refused(story: Story) -> None:
    """A refusal counts for the server whose key was shown, even if the host has another machine's key on record."""
    with_another_machines_key(story)
    times = refuse_all(story, 3600)
    assert story.host(NAMES[0]).retry.kind == "host-key-changed"
    assert len(times) == len(NAMES)
    assert at_most_two_in_ten_minutes(times)


def test_a_refusal_by_another_machine_counts_for_no_other_account(story: Story) -> None:
    """A refusal by a machine with another key does not delay hosts whose server key is known."""
    with_another_machines_key(story)
    story.fails(NAMES[0], "auth", positive=True, host_key="ssh-ed25519 SHA256:twin")
    for name in under_way(story):
        story.fails(name, "auth", positive=True)
        break
    assert len(under_way(story)) == 1, "the server itself has refused one login"


def test_the_next_agent_counts_a_refusal_by_another_key(story: Story) -> None:
    """After a restart, refusals by a server with an unexpected key still count for the server with that key."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(NAMES, ALWAYS))
    story.post(e.Remembered(story.t, NAMES[0], refused_elsewhere=((60.0, HOST_KEY), (50.0, HOST_KEY))))
    for name in NAMES:
        story.known_keys[name] = [HOST_KEY]
        story.resolved(name, server=f"{name}.example", user="me")
    story.started()
    story.after(530)
    assert not under_way(story)
    story.after(20)
    assert 1 <= len(under_way(story)) <= 2


def test_a_login_clears_the_refusals_by_its_key(story: Story) -> None:
    """After a successful login at a server, its refusals under the unexpected key no longer count."""
    with_another_machines_key(story)
    for name in under_way(story):
        story.fails(name, "auth", positive=True)
    assert story.host(NAMES[0]).login.refused_elsewhere
    story.post(user_events.UserReconnect(story.t, (NAMES[2],)), "reconnect")
    story.reconnected(NAMES[2])
    assert not story.host(NAMES[0]).login.refused_elsewhere
    assert under_way(story)


@pytest.mark.parametrize("recorded", ["keys of three types", "the key of another machine"])
def test_names_at_one_address_are_one_server_whatever_their_keys(story: Story, recorded: str) -> None:
    """Names with the same address are one server, even without a host key check or an entry in known_hosts."""
    keys = dict.fromkeys(NAMES, HOST_KEY)
    if recorded == "the key of another machine":
        keys[NAMES[0]] = LIAR
    else:
        keys = {name: f"{KEY_TYPES[number % 3]} SHA256:web" for number, name in enumerate(NAMES)}
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(NAMES, ALWAYS))
    for name, key in keys.items():
        reached = e.Remembered(story.t, name, host_key=key, login_worked_ago_s=3600, addresses=(SERVER,))
        story.post(reached, "remembered")
        story.resolved(name, server=f"{name}.example", user="me", strict="no")
    story.started()
    times: list[float] = []
    for _ in range(1800):
        begun = under_way(story)
        story.after(1)
        for name in begun:
            story.fails(name, "auth", positive=True, host_key=HOST_KEY if keys[name] == LIAR else keys[name])
            times.append(story.t)
    assert len(times) == len(NAMES)
    assert at_most_two_in_ten_minutes(times)


def test_a_name_that_waits_for_anothers_refusals_says_so(story: Story) -> None:
    """A host that refused nothing waits because it may be the same server. It names the host that was refused."""
    story.network(HOME)
    story.configured(wishes=dict.fromkeys(NAMES[:2], ALWAYS))
    story.resolved(NAMES[0], server="closes.example", user="me", strict="accept-new")
    story.started()
    for _ in range(2):
        story.fails(NAMES[0], "closed", perhaps_refused=True)
        story.after(5)
    story.resolved(NAMES[1], server="absent.example", user="me", strict="accept-new")
    assert "account=refused by=n0" in story.why(NAMES[1])
    problem = display_problem(story.host(NAMES[1]), story.state, story.t)
    assert problem is not None
    assert problem.title == "n1 waits: it may be the server of n0, which refused 2 logins"
    assert " by=" not in next(
        str(w.evidence) for w in story.whys if w.name == NAMES[0] and w.verdict == "wait"
    )
