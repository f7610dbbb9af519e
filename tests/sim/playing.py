"""Plays a history in a simulated world: carries out each step, then heals the world and checks it."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.cast import CAST, sharing
from tests.sim.histories import FLICKERS, HARMLESS, History, Step
from tests.sim.net import SPOTS, Net
from tests.sim.sshd import MAX_STARTUPS
from tests.sim.terminal import login
from tests.sim.world import World
from trayagent.core.facts import events as e
from trayagent.core.facts import user_events
from trayagent.core.facts.network import Touched

SOON_S = 60.0
MOVES = {"plug", "unplug", "sleep"}
FEW = 4
# longer than every back-off; the longest is 10 minutes, for a server that closes connections
QUIET_S = 1000.0
SPARE_AFTER_S = 3700.0  # longer than the longest pause after a lost spare master


def play(history: History, *, checks_idle_hosts: bool = False) -> World:
    """Play a history, heal the world, let it rest, and return it."""
    names, rtt_s, steps = history
    world = World(names, rtt_s, checks_idle_hosts=checks_idle_hosts)
    world.plug("home")
    world.clock.run_until(world.clock.now + 5)
    for name in names:
        if (CAST[name].wish is None or CAST[name].strict == "no") and name not in {"gate", "annex"}:
            world.connect_by_hand(name)
    world.clock.run_until(world.clock.now + 5)
    for pause, word, which in steps:
        world.clock.run_until(world.clock.now + pause)
        world.log.append((world.clock.now, f"{word} {which}"))
        happen(world, word, which)
    if harmless(steps):
        home_again(world)
    heal(world)
    return world


def harmless(steps: tuple[Step, ...]) -> bool:
    """Report whether the steps affected only other networks than home, with at most a few moves."""
    words = {word for _, word, _ in steps}
    lied_at_home = any(word == "liar" and which.startswith("home") for _, word, which in steps)
    return words <= HARMLESS and not lied_at_home and sum(word in MOVES for _, word, _ in steps) <= FEW


def home_again(world: World) -> None:
    """Go home, and check that everything is connected soon, whatever happened on other networks."""
    world.unplug("eth0")
    world.plug("home")
    world.change_network(lambda net: net.tunnel_up(everything=False))
    world.clock.run_until(world.clock.now + SOON_S)
    world.rules.connected()


def happen(world: World, word: str, which: str) -> None:
    """Carry out one step."""
    for group in (_network, _hole, _standby, _server, _keys, _session, _user, _machine, _request):
        if group(world, word, which):
            return
    raise KeyError(word)


def _network(world: World, word: str, which: str) -> bool:
    match word:
        case "plug":
            world.plug(which)
        case "unplug":
            world.unplug(which)
        case "flicker":
            world.change_network(lambda _net: None, FLICKERS[which])
        case "flapping" | "blink" | "tentative" | "swallowed":
            _flap(world, word, which)
        case "and back":
            _and_back(world, which)
        case "sleep":
            world.sleep({SPOTS[which].interface: SPOTS[which]} if which else {})
        case _:
            if word not in _CHANGES:
                return False
            world.change_network(lambda net: _CHANGES[word](net, which))
    return True


def _flap(world: World, word: str, which: str) -> None:
    """Change networks faster than connections can be made, or lose the network for a moment."""
    if word == "blink":
        world.unplug("wlan0")
        world.clock.run_until(world.clock.now + 0.05)
        world.plug(which)
        return
    if word == "tentative":  # the interface gets its addresses again, and cannot send from them for a while
        spot = world.net.spots.get(which)
        own = {spot.address.partition("/")[0]} if spot is not None else set()
        world.change_network(lambda net: net.tentative.update(own), Touched(addresses=frozenset(own)))
        world.clock.run_until(world.clock.now + 1.7)
        world.change_network(lambda net: net.tentative.clear())
        return
    if word == "swallowed":
        # a probe gets lost in a black hole, so TCP retransmits it some time after the hole's end
        holes = {spot.segment for spot in world.net.spots.values()}
        world.net.holes |= holes
        world.look()
        world.change_network(lambda _net: None, FLICKERS["lost"])
        world.clock.run_until(world.clock.now + float(which))
        world.net.holes -= holes
        world.look()
        return
    for _ in range(6):
        for name in (which, "home"):
            world.plug(name)
            world.clock.run_until(world.clock.now + 0.7)


def _and_back(world: World, which: str) -> None:
    """Go to another network and soon back. The old address remains for some milliseconds after the move."""
    before, (spot, _, away_s) = world.net.spots.get("wlan0"), which.partition(" ")
    if before is None:
        return

    def move(net: Net) -> None:
        net.spots["wlan0"], net.lingering = SPOTS[spot], {before.address}

    world.manager.leave("wlan0")
    world.change_network(move, Touched(links=frozenset({"wlan0"})))
    world.clock.run_until(world.clock.now + 0.005)
    world.change_network(lambda net: net.lingering.clear())
    world.clock.run_until(world.clock.now + float(away_s))
    world.plug(next(name for name, spot in SPOTS.items() if spot == before))


def _carrier_lost(net: Net, which: str) -> None:
    if which in net.spots:
        net.dark.add(which)


def _advertised(net: Net, _which: str) -> None:
    net.extra += 1


def _docker(net: Net, _which: str) -> None:
    net.docker = not net.docker


def _vpn_up(net: Net, which: str) -> None:
    if net.tunnel_number is None:
        net.tunnel_up(everything=which == "everything")


def _vpn_down(net: Net, _which: str) -> None:
    net.tunnel_number = None


_CHANGES: dict[str, Callable[[Net, str], None]] = {
    "carrier lost": _carrier_lost,
    "carrier back": lambda net, which: net.dark.discard(which),
    "router advertisement": _advertised,
    "docker": _docker,
    "vpn up": _vpn_up,
    "vpn down": _vpn_down,
    "vpn new address": lambda net, which: net.tunnel_up(everything=which == "everything"),
}


def _hole(world: World, word: str, which: str) -> bool:
    match word:
        case "hole":
            world.net.holes.add(which)
        case "hole over":
            world.net.holes.clear()
        case "liar":
            segment, _, lie = which.partition(" ")
            world.net.liars[segment] = lie
        case "liar gone":
            world.net.liars.clear()
        case "other node":
            world.first_node = 1 - world.first_node
        case "manager runs":
            world.manager.start()
        case "portal":
            world.manager.portals.add(which)
            world.manager.report()
        case "portal over":
            world.manager.portals.clear()
            world.manager.report()
        case _:
            return False
    world.look()
    return True


def _standby(world: World, word: str, which: str) -> bool:
    match word:
        case "standby":
            world.keep_spares()
        case "metered" | "unmetered":
            world.meter(which, on=word == "metered")
        case _:
            return False
    return True


def _server(world: World, word: str, which: str) -> bool:
    name, _, amount = which.partition(" ")
    machine = world.machines.named(name or "web")
    match word:
        case "reboot" | "nologin":
            world.reboot(which, 90.0 if word == "nologin" else 0.0)
        case "dropping over":
            for server in world.machines.servers():
                server.dropping = False
        case "busy":
            machine.late_s = 0.0 if machine.late_s else float(amount)
        case _:
            if word not in _OF_SERVERS:
                return False
            setattr(machine, *_OF_SERVERS[word])
    return True


_OF_SERVERS: dict[str, tuple[str, object]] = {
    "credentials expired": ("accepts_login", False),
    "accounts expired": ("wordless", True),
    "dropping": ("dropping", True),
    "stingy": ("max_startups", 3),
}


def _keys(world: World, word: str, _which: str) -> bool:
    match word:
        case "credentials renewed":
            renew(world)
        case "files touched":
            world.post(user_events.CredentialsChanged(0))
        case "keys changed":
            change_keys(world)
        case _:
            return False
    return True


def _session(world: World, word: str, which: str) -> bool:
    match word:
        case "upload":
            world.upload(which)
        case "stuck":
            world.hang(which)
        case "session":
            world.sessions.open(which)
        case "sessions end":
            world.sessions.end(which)
        case "deaf":
            world.deafen(which)
        case "suspend":
            world.suspend(which)
        case "continue":
            world.go_on(which)
        case "exit" | "-O exit" if which in world.roles:
            world.leave(which, by_request=word == "-O exit")
        case "connect" | "take path" if which in world.roles:
            world.connect_by_hand(which, takes_path=word == "take path")
        case _:
            return word in {"exit", "-O exit", "connect", "take path"}
    return True


def _user(world: World, word: str, which: str) -> bool:
    known = which in world.roles
    match word:
        case "disconnect" if known:
            world.command(user_events.UserDisconnect(0, (which,)))
        case "reconnect" if known and world.roles[which].alias:
            world.command(user_events.UserReconnect(0, (which,)))
        case "reconnect now" if known and world.roles[which].alias:
            world.rules.ended_at_once |= set(sharing(which))
            world.command(user_events.UserReconnect(0, (which,), at_once=True))
            world.rules.ended_at_once -= set(sharing(which))
        case "pause" if known or not which:
            world.command(user_events.UserPause(0, (which,) if which else (), 300.0))
        case "resume" if known or not which:
            world.command(user_events.UserResume(0, (which,) if which else ()))
        case "roam":
            world.roam()
        case "look":
            world.post(user_events.UserViewedStatus(0))
        case "use" if known:
            world.use(which)
        case "agent restarts":
            world.start_agent()
        case _:
            return word in {"disconnect", "reconnect", "reconnect now", "pause", "resume", "use"}
    return True


def _machine(world: World, word: str, which: str) -> bool:
    """Change something on the laptop that is not the network."""
    match word:
        case "unresolved":
            spot, _, seconds = which.partition(" ")
            interface = SPOTS[spot].interface
            world.net.unresolved.add(interface)
            world.plug(spot)
            world.clock.after(float(seconds), lambda: world.net.resolve(interface))
        case "obstacle":
            world.obstacles[which] = "control-path"
        case "disk full":
            world.obstacles[""] = "unwritable"
        case "obstacles gone":
            clear_obstacles(world)
        case "config broken" | "config fixed":
            world.change_config(broken=word == "config broken")
        case "port taken":
            world.forwarding.taken.add(int(which))
        case "port free":
            world.forwarding.taken.clear()
        case "relay lost":
            world.inners.lose_relay()
        case _:
            return False
    return True


def clear_obstacles(world: World) -> None:
    """Remove all obstacles to connections on this machine."""
    names = [name for name in world.obstacles if name]
    world.obstacles.clear()
    for name in names:
        world.hands.clear(name)


def _request(world: World, word: str, which: str) -> bool:
    known = which in world.roles
    match word:
        case "login" | "login given up" if known and world.roles[which].alias:
            login(world, which, leaves=word == "login given up")
        case "forward" if known:
            world.forwarding.give(which)
        case "forward canceled" if known:
            world.forwarding.cancel(which)
        case "stall":
            world.inners.stall(which)
        case "sign-in fails":
            world.post(e.SignInFailed(0, "corp", "wrong code"))
        case "stop masters":
            world.stop_masters()
        case _:
            return word in {"login", "login given up", "forward", "forward canceled"}
    return True


def renew(world: World) -> None:
    """Make every login work again, and report changed keys to the agent."""
    for machine in world.machines.servers():
        machine.accepts_login, machine.wordless = True, False
    change_keys(world)


def change_keys(world: World) -> None:
    """Report that credentials changed, and 2 s later that the keys of all hosts differ."""
    world.post(user_events.CredentialsChanged(0))
    world.clock.after(2.0, lambda: world.post(user_events.KeysChanged(0, tuple(world.roles))))


def heal(world: World) -> None:
    """Repair everything: go home, bring up the VPN and the servers, and accept logins.

    Then let time pass, and check.
    """
    world.net.holes.clear()
    world.net.liars.clear()
    world.manager.portals.clear()
    world.forwarding.taken.clear()
    clear_obstacles(world)
    if world.config_broken:
        world.change_config(broken=False)
    for name in world.roles:
        world.go_on(name)
    for machine in world.machines.servers():
        machine.dropping, machine.late_s = False, 0.0
        machine.max_startups = MAX_STARTUPS
    world.unplug("eth0")
    world.plug("home")
    world.change_network(lambda net: net.tunnel_up(everything=False))
    world.rests = True
    world.clock.run_until(world.clock.now + 1000)  # until rebooting servers are up and accept logins
    renew(world)
    world.log.append((world.clock.now, "from here on all is well"))
    world.clock.run_until(world.clock.now + QUIET_S)
    world.rules.at_rest()
    if world.spares:
        for interface in SPOTS["home"].interface, SPOTS["cable"].interface:
            world.meter(interface, on=False)
        world.rests = False
        world.plug("cable")
        world.clock.run_until(world.clock.now + SPARE_AFTER_S)
        world.rules.spares_are_there()
