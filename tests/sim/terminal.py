"""The user's login at a terminal in the simulation: `trayagent login HOST`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.hands import failure_of
from tests.sim.handshake import Handshake, Outcome, shown_key
from tests.sim.tcp import Connection
from trayagent.core.facts import events as e
from trayagent.core.facts.user_events import LoginBegun, LoginGivenUp

if TYPE_CHECKING:
    from tests.sim.world import World

PATIENCE_S = 20.0  # the user leaves a login that hangs


def login(world: World, name: str, *, leaves: bool) -> None:
    """Let the user begin a login. With `leaves`, the user ends it with Ctrl-C after a moment."""
    role, least = world.roles[name], world.state.next_attempt
    world.post(LoginBegun(0, name, role.resolved(), role.hop(), role.later_hops()))
    host = world.state.hosts.get(name)
    attempt = host.attempt if host is not None else None
    if attempt is None or not attempt.at_prompt or attempt.id < least:
        return
    number, agent, hands = attempt.id, world.agent, world.hands
    world.rules.user_wants(name)
    world.rules.logins.by_user(name, number)

    def mine(event: e.Event) -> None:
        if agent == world.agent:
            world.post(event)

    def done(outcome: Outcome, connection: Connection | None) -> None:
        hands.forget(number)
        if agent != world.agent:
            return
        world.rules.outcome(name, number, outcome)
        key = shown_key(outcome.key, role.key_type)
        if connection is None:
            mine(e.AttemptFailed(0, name, number, failure_of(outcome), 1.1, key))
            return
        path = f"/cm/{name}.{number}.new"
        born = world.born(role, connection, started_by_agent=True, path=path, key=outcome.key).master
        typed = role.wish is not None and role.wish.interactive
        mine(
            e.AttemptReady(
                0, name, number, born, login="typed" if typed else "quiet", host_key=key, trusted=True
            )
        )
        world.inners.ports.login_succeeded(name)
        host = world.state.hosts.get(name)
        if host is not None and key is not None and host.login.host_key == key:
            world.rules.logged_in.add(name)

    def give_up() -> None:
        if hands.forget(number, cut=True):
            mine(LoginGivenUp(0, name, number))

    through, legs, peer = world.way_of(role)
    peer = world.answering(role) if role.nodes else peer
    handshake = Handshake(
        world.clock, world.net, world.machines, peer, legs, bare=False, through=through,
        established=lambda _flow: None, done=done, unfinished=lambda _leg: None,
    )  # fmt: skip
    hands.keep(number, handshake)
    world.clock.after(0.2 if leaves else PATIENCE_S, give_up)
