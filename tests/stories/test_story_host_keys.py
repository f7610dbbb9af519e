"""Controls and host keys: a control must prove the host key of the connection that it judges."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.stories.scenes import CAFE, CAFE_2, HOME, lan
from tests.stories.teller import ALWAYS, HOST_KEY, ON_USE, Story
from trayagent.core.facts import actions as a
from trayagent.core.facts import events as e
from trayagent.core.facts.network import Network
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.resolved import HostKeyChecking
from trayagent.core.facts.user_events import UserReconnect

OTHER = "ssh-ed25519 SHA256:somebody"
# Another network in which the machine has the same address.
TWIN = lan("twin", "wlan0", "192.168.10.2/24", gateway="192.168.10.1", mac="bb:01")


def in_doubt(story: Story, *, strict: HostKeyChecking = "no", recorded: str | None = HOST_KEY) -> int:
    """Begin in a café, with a running control for a master whose address is gone. Return the master's pid."""
    master = story.connected(scene=HOME, strict=strict, host_key=recorded)
    story.after(60).network(CAFE)
    assert story.did(a.Dial)
    return master.pid


@pytest.mark.parametrize(
    ("strict", "recorded", "shown", "proves"),
    [
        ("no", HOST_KEY, HOST_KEY, True),
        ("no", HOST_KEY, OTHER, False),
        ("no", None, HOST_KEY, False),
        ("no", HOST_KEY, None, False),
        ("yes", HOST_KEY, HOST_KEY, True),
        ("yes", None, HOST_KEY, True),
        ("yes", None, None, False),
    ],
)
@pytest.mark.parametrize("refused", [False, True])
def test_a_control_needs_the_recorded_key(
    story: Story,
    strict: HostKeyChecking,
    recorded: str | None,
    shown: str | None,
    *,
    proves: bool,
    refused: bool,
) -> None:
    """A control, accepted or refused, needs the recorded key. If none is recorded, ssh must have checked the key."""
    in_doubt(story, strict=strict, recorded=recorded)
    if refused:
        story.fails("web", "auth", positive=True, host_key=shown)
    else:
        story.ready("web", host_key=shown)
    story.after(1)
    ended = [*story.did(a.Kill), *story.did(a.TakeOver)]
    assert bool(ended) is proves
    assert bool(story.did(a.Discard)) is (not proves and not refused)


@pytest.mark.parametrize("strict", ["no", "yes", "ask", "accept-new"])
@pytest.mark.parametrize("refused", [False, True])
def test_a_rotated_key_replaces_a_connection_whose_address_is_gone(
    story: Story, strict: HostKeyChecking, *, refused: bool
) -> None:
    """Another key counts after a move only if ssh accepts only keys of known_hosts, and the login succeeds."""
    in_doubt(story, strict=strict)
    if refused:
        story.fails("web", "auth", positive=True, host_key=OTHER)
    else:
        story.ready("web", host_key=OTHER)
    story.after(1)
    counts = strict in {"yes", "ask"} and not refused
    assert bool([*story.did(a.Kill), *story.did(a.TakeOver)]) is counts
    if counts:
        assert "host_key=other" in story.why("web")


def test_a_rotated_key_is_no_control_for_a_silent_connection(story: Story) -> None:
    """Another key proves nothing about a silent connection, whose server may be busy.

    Once that ended, the new key is used.
    """
    story.connected(scene=HOME, strict="yes", host_key=HOST_KEY)
    story.after(60).network(HOME.down("wlan0"))
    story.after(1).network(HOME)
    story.after(1).ready("web", host_key=OTHER)
    story.after(60)
    assert not [*story.did(a.Kill), *story.did(a.TakeOver)]
    assert (story.shown("web"), story.problem("web")) == ("needs-sign-in", "host-key-unknown")
    assert len(story.did(a.Dial)) == 1
    story.ended("web", kind="died")
    assert len(story.did(a.Dial)) == 2
    story.ready("web", host_key=OTHER)
    story.took_over("web")
    assert story.shown("web") == "connected"


def test_an_expired_host_certificate_is_tried_again(story: Story) -> None:
    """An expired host certificate ends nothing. The agent retries as if the server were down, and on each network."""
    in_doubt(story, strict="yes")
    story.fails("web", "host-certificate")
    assert (story.shown("web"), story.problem("web")) == ("waiting", "host-certificate")
    assert not [*story.did(a.Kill), *story.did(a.TakeOver)]
    story.after(1.5)
    assert len(story.did(a.Dial)) == 2
    story.fails("web", "host-certificate")
    story.network(CAFE_2)
    assert len(story.did(a.Dial)) == 3
    story.ready("web")
    story.after(1)
    assert story.did(a.TakeOver)


def test_a_full_disk_proves_nothing_and_is_tried_again(story: Story) -> None:
    """If no log of a login can be written, nothing ends. The agent retries each 30 s, and on each network."""
    in_doubt(story, strict="no")
    story.fails("web", "unwritable")
    assert (story.shown("web"), story.problem("web")) == ("failed", "disk-full")
    story.after(29)
    assert len(story.did(a.Dial)) == 1
    story.after(1.5)
    assert len(story.did(a.Dial)) == 2
    story.fails("web", "unwritable")
    story.network(CAFE_2)
    assert len(story.did(a.Dial)) == 3
    assert not [*story.did(a.Kill), *story.did(a.TakeOver)]
    story.ready("web")
    story.after(1)
    assert story.did(a.TakeOver)


def test_an_address_that_returns_makes_a_rotated_key_no_control(story: Story) -> None:
    """A login with another key while the address was gone does not count any more when the address returns."""
    in_doubt(story, strict="yes")
    story.ready("web", host_key=OTHER)
    story.network(HOME)
    story.after(60)
    assert not [*story.did(a.Kill), *story.did(a.TakeOver)]


def test_another_machine_at_a_private_address_is_not_the_server(story: Story) -> None:
    """Another machine at a private address is not the server, even if known_hosts has both keys (home and work)."""
    story.connected(scene=HOME, strict="yes", host_key=HOST_KEY, server="192.168.10.50")
    story.after(60).network(CAFE)
    story.ready("web", host_key=OTHER)
    story.after(60)
    assert not [*story.did(a.Kill), *story.did(a.TakeOver)]
    assert (story.shown("web"), story.problem("web")) == ("offline", "not-here")


def test_another_machine_is_not_here_and_gets_one_attempt_on_each_network(story: Story) -> None:
    """A login that reached another machine shows "not-here", and the next network gets another attempt."""
    in_doubt(story)
    story.ready("web", host_key=OTHER)
    assert (story.shown("web"), story.problem("web")) == ("offline", "not-here")
    story.after(3600)
    assert len(story.did(a.Dial)) == 1
    story.network(CAFE_2)
    assert len(story.did(a.Dial)) == 2
    story.ready("web")
    story.after(1)
    assert story.did(a.TakeOver)


def test_an_unknown_key_is_shown_and_a_reconnect_replaces_the_master(story: Story) -> None:
    """If a master's host key is unknown and unchecked, `status` explains what to do, and a reconnect replaces it."""
    in_doubt(story, recorded=None)
    story.ready("web")
    assert (story.shown("web"), story.problem("web")) == ("needs-sign-in", "host-key-unknown")
    story.post(UserReconnect(story.t, ("web",)))
    story.ready("web")
    assert story.did(a.TakeOver)


def test_the_key_of_the_last_login_counts_for_a_master_of_unknown_origin(story: Story) -> None:
    """The host key of the agent's last login also counts for a master that the user's own ssh made later."""
    story.connected(scene=HOME, strict="no", wish=ON_USE, host_key=HOST_KEY)
    story.after(60).network(CAFE)
    story.ready("web")
    story.after(1)
    story.took_over("web")
    story.ended("web", by_request=True)
    story.forget()
    story.found("web", host_key=None)
    story.after(60).network(CAFE_2)
    story.ready("web", host_key=HOST_KEY)
    story.after(1)
    assert story.did(a.TakeOver)


@pytest.mark.parametrize("strict", ["no", "yes", "ask", "accept-new"])
@pytest.mark.parametrize("refused", [False, True])
def test_a_login_at_a_new_address_in_ssh_config(
    story: Story, strict: HostKeyChecking, *, refused: bool
) -> None:
    """If HostName is edited, a login at the new address with a checked key replaces the silent old connection.

    A refusal there proves nothing about the old connection. Without a checked key, `status` explains what to do.
    """
    master = story.connected(scene=HOME, strict=strict, host_key=HOST_KEY)
    story.resolved("web", server="203.0.113.12", strict=strict)
    assert story.shown("web") == "connected"
    story.after(60).network(CAFE)
    if refused:
        story.fails("web", "auth", positive=True, host_key=OTHER)
        story.after(60)
        assert story.problem("web") == "auth-denied"
        assert not [*story.did(a.Kill), *story.did(a.TakeOver)]
        return
    story.ready("web", host_key=OTHER)
    story.after(1)
    if strict in {"yes", "ask"}:
        assert [x.old.pid for x in story.did(a.TakeOver) if isinstance(x, a.TakeOver) and x.old] == [
            master.pid
        ]
        assert "ssh_config=changed" in story.why("web")
        story.took_over("web")
        assert story.shown("web") == "connected"
        return
    assert story.did(a.Discard)
    problem = story.host("web").problem
    assert problem is not None
    assert "address of web in ssh_config changed" in problem.title
    assert problem.hint == "To connect there: trayagent reconnect web"
    story.post(UserReconnect(story.t, ("web",)))
    story.ready("web", host_key=OTHER)
    assert story.did(a.TakeOver)


def test_the_same_machine_at_a_new_address_is_judged_as_ever(story: Story) -> None:
    """A machine with the recorded key at the new address is the old server, so even its refusal is a control."""
    story.connected(scene=HOME, strict="no", host_key=HOST_KEY)
    story.resolved("web", server="203.0.113.12", strict="no")
    story.after(60).network(CAFE)
    story.fails("web", "auth", positive=True, host_key=HOST_KEY)
    story.after(1)
    assert story.did(a.Kill)


def test_an_old_connection_that_answers_outlives_a_new_address(story: Story) -> None:
    """A change of HostName ends no connection that works."""
    master = story.connected(scene=HOME, strict="yes", host_key=HOST_KEY)
    story.resolved("web", server="203.0.113.12", strict="yes")
    story.after(60).network(CAFE)
    story.network(HOME)
    story.answered("web")
    story.after(60)
    assert story.living("web").pid == master.pid
    assert not [*story.did(a.Kill), *story.did(a.TakeOver)]


def test_a_disconnect_before_the_key_exchange_stops_nothing(story: Story) -> None:
    """A disconnect before the key exchange is retried by the path's back-off, and at once on another path."""
    in_doubt(story, strict="yes")
    story.fails("web", "disconnected")
    story.after(20)
    tried = len(story.did(a.Dial))
    assert 1 < tried < 7
    story.fails("web", "disconnected")
    story.network(CAFE_2)
    story.after(0.1)
    assert len(story.did(a.Dial)) == tried + 1


@pytest.mark.parametrize("kind", ["auth", "negotiation"])
def test_an_unproven_refusal_stops_a_host_on_this_path_only(story: Story, kind: str) -> None:
    """After a refusal without a proven host key, only another network causes a retry, not a timer."""
    in_doubt(story, strict="yes")
    story.fails("web", kind)  # type: ignore[arg-type]
    story.after(3600)
    assert len(story.did(a.Dial)) == 1
    assert not story.did(a.Kill)
    story.network(CAFE_2)
    story.after(1)
    assert len(story.did(a.Dial)) == 2


def test_unproven_refusals_stay_few(story: Story) -> None:
    """Unproven refusals may come from the real jump host, so there are at most two in ten minutes."""
    in_doubt(story, strict="yes")
    for number in range(12):
        if story.host("web").attempt is not None:
            story.fails("web", "auth")
        story.after(20).network(CAFE if number % 2 else CAFE_2)
    story.after(20)
    assert len(story.did(a.Dial)) <= 2


@pytest.mark.parametrize("proven", [True, False])
@pytest.mark.parametrize("moved", ["before the start", "later", "never"])
def test_an_unproven_refusal_stops_the_next_agent_on_that_network_only(
    story: Story, moved: str, *, proven: bool
) -> None:
    """After a restart, an unproven refusal applies only to the network of that login.

    A proven one applies everywhere.
    """
    story.network(CAFE_2 if moved == "before the start" else CAFE)
    story.configured(web=ALWAYS)
    there = {"network": Network("wlan0", "cc:01"), "source": "10.20.0.7"}
    refusal = e.Refusal("auth", Problem("auth-denied", "refused"), proven=proven, **there)  # type: ignore[arg-type]
    story.post(e.Remembered(story.t, "web", refused_ago_s=(60.0,), refusal=refusal), "remembered")
    story.resolved("web")
    story.started()
    story.after(60)
    if moved == "later":
        assert not story.did(a.Dial)
        story.network(CAFE_2)
        story.after(1)
    assert len(story.did(a.Dial)) == (1 if moved != "never" and not proven else 0)


@pytest.mark.parametrize("unnamed", [True, False])
@pytest.mark.parametrize(
    ("host_key", "trusted", "ends"), [(None, False, False), (OTHER, False, False), (HOST_KEY, True, True)]
)
def test_a_silent_master_ends_only_by_a_known_host_key(
    story: Story, host_key: str | None, *, trusted: bool, ends: bool, unnamed: bool
) -> None:
    """If a master's address still exists, a bare control needs a host key that is in known_hosts.

    After only a banner, or a key that is not in known_hosts, the silent master is kept.
    """
    story.network(HOME)
    if unnamed:
        story.configured()
        story.started()
    else:
        story.configured(web=replace(ALWAYS, interactive=True))
        story.resolved("web")
        story.started()
    story.found("web", unnamed=unnamed)
    story.after(60).network(TWIN)
    story.after(5)
    assert [x.banner for x in story.did(a.DialBare) if isinstance(x, a.DialBare)] == [False]
    story.ready("web", bare=True, host_key=host_key, trusted=trusted)
    story.after(5)
    assert bool(story.did(a.Kill)) is ends


@pytest.mark.parametrize("unnamed", [True, False])
def test_a_banner_ends_only_an_unnamed_master_whose_address_is_gone(story: Story, *, unnamed: bool) -> None:
    """If a master's address is gone, a banner is enough to end an unnamed master, but no other direct master."""
    story.network(HOME)
    story.configured(wishes={} if unnamed else {"web": replace(ALWAYS, interactive=True)})
    story.resolved("web")
    story.started()
    story.found("web", unnamed=unnamed)
    story.after(60).network(CAFE)
    story.after(0.1).ready("web", bare=True, host_key=None, trusted=False)
    story.after(5)
    assert bool(story.did(a.Kill)) is unnamed
