"""Random histories of a laptop, drawn from a seed. A history is data, so it can be stored, printed and shortened."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.sim.cast import ALIASES, CAST, FLEET, RESTRICTED, SEVERAL, SHARING, jumps
from tests.sim.net import SPOTS
from trayagent.core.facts.network import Touched

Step = tuple[float, str, str]
"""The seconds since the previous step, the word, and its object."""
History = tuple[tuple[str, ...], float, tuple[Step, ...]]
"""The names of the hosts, the round-trip time in seconds, and the steps."""

RTTS_S = (0.040, 0.004, 0.300)
PAUSES_S = (0.0, 0.0005, 0.02, 0.1, 0.17, 0.3, 0.6, 1.5, 4.0, 20.0, 90.0, 700.0)
# numbers of steps: short histories find races and are easy to read; long ones combine the effects of many
# steps
SHORT, LONG = 8, 40
FLICKERS = {
    "address": Touched(addresses=frozenset({"192.168.10.2", "10.20.0.7"})),
    "carrier": Touched(links=frozenset({"wlan0"})),
    "route": Touched(routes=frozenset({"wlan0", "eth0"})),
    "lost": Touched(lost=True),
}

SERVERS = ("web", "home", "internal", "outer", "inner", "deep", "node1")
LIES = ("denied", "too many", "going down", "closes", "silent", "key", "key in")
HOSTS = ("*",)  # replaced by one host of the history

# The words, each with its possible objects.
WORDS: dict[str, tuple[str, ...]] = {
    "plug": tuple(SPOTS),
    "unplug": ("wlan0", "eth0"),
    "carrier lost": ("wlan0", "eth0"),
    "carrier back": ("wlan0", "eth0"),
    "flicker": tuple(FLICKERS),
    "flapping": ("cafe", "twin"),
    "blink": ("home", "cafe"),
    "and back": tuple(f"{spot} {away_s}" for spot in ("cafe", "twin") for away_s in (0.9, 8.0)),
    "tentative": ("wlan0", "eth0"),
    "swallowed": ("0.3", "1.1", "3.2", "12.0"),
    "router advertisement": ("",),
    "docker": ("",),
    "vpn up": ("split", "everything"),
    "vpn down": ("",),
    "vpn new address": ("split", "everything"),
    "hole": ("home", "cafe", "office"),
    "hole over": ("",),
    "liar": tuple(f"{segment} {lie}" for segment in ("home", "cafe", "office") for lie in LIES),
    "liar gone": ("",),
    "stingy": SERVERS,
    "upload": HOSTS,
    "stuck": HOSTS,
    "use": HOSTS,
    "sleep": ("", *SPOTS),
    "reboot": SERVERS,
    "nologin": SERVERS,
    "credentials expired": SERVERS,
    "accounts expired": SERVERS,
    "credentials renewed": ("",),
    "files touched": ("",),
    "keys changed": ("",),
    "dropping": SERVERS,
    "dropping over": ("",),
    "busy": tuple(f"{server} {late_s}" for server in SERVERS for late_s in (0.3, 1.5)),
    "connect": HOSTS,
    "exit": HOSTS,
    "-O exit": HOSTS,
    "disconnect": HOSTS,
    "reconnect": HOSTS,
    "pause": ("", *HOSTS),
    "resume": ("", *HOSTS),
    "look": ("",),
    "other node": ("",),
    "agent restarts": ("",),
}


# Words for processes: a master, or the sentinel on the server, is suspended for a while.
PROCESSES: dict[str, tuple[str, ...]] = {"suspend": HOSTS, "continue": HOSTS, "deaf": HOSTS}
AROUND_THEM = (
    "look",
    "flicker",
    "plug",
    "unplug",
    "blink",
    "swallowed",
    "upload",
    "use",
    "hole",
    "hole over",
    "sleep",
)

# Words for sessions. A reconnect keeps the sessions of a master that answers.
SESSIONS: dict[str, tuple[str, ...]] = {"session": HOSTS, "sessions end": HOSTS, "reconnect now": HOSTS}
# The user removes the control socket of a host that roams, and the next ssh becomes the master there.
TAKES: dict[str, tuple[str, ...]] = {"take path": HOSTS}
BESIDE_THEM = (
    "reconnect",
    "reconnect",
    "look",
    "plug",
    "unplug",
    "blink",
    "swallowed",
    "upload",
    "use",
    "hole",
    "hole over",
    "sleep",
    "connect",
    "-O exit",
    "disconnect",
    "pause",
    "resume",
    "reboot",
    "agent restarts",
)

# Words for the user's requests, and for what happens on the laptop beside the network.
REQUESTS: dict[str, tuple[str, ...]] = {
    "login": HOSTS,
    "login given up": HOSTS,
    "forward": HOSTS,
    "forward canceled": HOSTS,
    "stall": HOSTS,
    "sign-in fails": ("",),
    "stop masters": ("",),
    "unresolved": tuple(f"{spot} {seconds}" for spot in SPOTS for seconds in (0.05, 0.7, 5.0, 100.0)),
    "obstacle": HOSTS,
    "disk full": ("",),
    "obstacles gone": ("",),
    "config broken": ("",),
    "config fixed": ("",),
    "port taken": ("8080", "1080", "9000"),
    "port free": ("",),
    "relay lost": ("",),
}

# Hosts without a jump host whose key ssh checks.
ROAMERS = ("web", "lab", "db", "use", "fresh", "login", *SEVERAL)

# Words for spare masters: two networks at a time, and what ends them.
STANDBY: dict[str, tuple[str, ...]] = {
    "plug": tuple(SPOTS),
    "unplug": ("wlan0", "eth0"),
    "carrier lost": ("wlan0", "eth0"),
    "carrier back": ("wlan0", "eth0"),
    "vpn up": ("split", "everything"),
    "vpn down": ("",),
    "metered": ("wlan0", "eth0"),
    "unmetered": ("wlan0", "eth0"),
}

# Words for a network manager's reports.
REPORTS: dict[str, tuple[str, ...]] = {"portal": ("home", "cafe", "office"), "portal over": ("",)}

_OBJECTS = WORDS | STANDBY | PROCESSES | SESSIONS | TAKES | REPORTS | REQUESTS

# If these words do not happen too often, no server at home has a reason to delay a login.
HARMLESS = {
    "plug",
    "unplug",
    "liar",
    "liar gone",
    "look",
    "upload",
    "use",
    "docker",
    "sleep",
    "connect",
    "vpn down",
}


def history(seed: int) -> History:
    """Return the history of a seed. Even seeds give short histories, odd seeds long ones.

    Half of them use only a few words.
    """
    random = Random(seed)  # noqa: S311  # not for secrets: the same seed must give the same history
    names = _names(random, many=seed % 2 == 0)
    words = sorted(WORDS)
    match random.randint(0, 9):
        case 0:
            words = sorted(HARMLESS)
        case 1 | 2 | 3 | 4:
            words = random.sample(words, random.randint(3, 10))
    return _drawn(random, names, words, 0, LONG if seed % 2 else SHORT)


def history_of_processes(seed: int) -> History:
    """Return the history of a seed in which processes are suspended."""
    random = Random(seed)  # noqa: S311  # not secret, see `history`
    names = _names(random, many=False)
    words = [*PROCESSES, *AROUND_THEM, "vpn up", "vpn down", "agent restarts"]
    return _drawn(random, names, words, 1, 25)


def history_of_sessions(seed: int) -> History:
    """Return the history of a seed in which the user reconnects hosts while sessions use them."""
    random = Random(seed)  # noqa: S311  # not secret, see `history`
    names = _names(random, many=False)
    words = ["session", *SESSIONS, *PROCESSES, *BESIDE_THEM, "vpn up", "vpn down"]
    begin = tuple((at, word, name) for at, word in ((0.0, "session"), (0.3, "reconnect")) for name in names)
    return _drawn(random, names, words, 1, 30, begin)


def history_of_roaming(seed: int) -> History:
    """Return the history of a seed in which hosts without jump hosts roam."""
    random = Random(seed)  # noqa: S311  # not secret, see `history`
    names = tuple(random.sample(ROAMERS, random.randint(1, 3)))
    if random.random() < 0.15:
        names = (*SHARING, *names[:1])
    words = [
        "plug",
        "unplug",
        *BESIDE_THEM,
        *AROUND_THEM,
        "session",
        "vpn up",
        "vpn down",
        "nologin",
        "stuck",
        *TAKES,
        *SESSIONS,
    ]
    words += random.sample(sorted(WORDS), 3)
    return _drawn(random, names, words, 1, 40, ((0.0, "roam", ""),))


def history_of_ports(seed: int) -> History:
    """Return the history of a seed in which a host that asks for codes roams by its far relay's port."""
    random = Random(seed)  # noqa: S311  # not secret, see `history`
    names = ("touch", *random.sample(("login",), random.randint(0, 1)))
    words = [
        *("plug", "plug", "plug", "unplug", "blink", "flicker", "sleep", "and back", "flapping"),
        *(
            "hole",
            "hole over",
            "swallowed",
            "login",
            "login given up",
            "disconnect",
            "reconnect now",
            "-O exit",
        ),
        *(
            "agent restarts",
            "reboot",
            "look",
            "use",
            "stall",
            "pause",
            "resume",
            "relay lost",
            "vpn up",
            "vpn down",
        ),
    ]
    return _drawn(
        random, names, words, 1, 30, ((0.0, "roam", ""), (0.3, "login", "touch"), (5.0, "look", ""))
    )


def history_of_standby(seed: int) -> History:
    """Return the history of a seed in which hosts have spare masters on a second network. Half of them roam."""
    random = Random(seed)  # noqa: S311  # not secret, see `history`
    names = tuple(
        dict.fromkeys((*random.sample(ROAMERS, random.randint(1, 3)), *random.sample(RESTRICTED, 1)))
    )
    names = names if random.random() < 0.3 else names[:-1]
    words = [
        *STANDBY,
        *STANDBY,
        "plug",
        "plug",
        *BESIDE_THEM,
        *AROUND_THEM,
        "session",
        *SESSIONS,
        "agent restarts",
    ]
    words += random.sample(sorted(WORDS | REPORTS | PROCESSES), 4)
    begin: list[Step] = [(0.0, "roam", "")] if random.random() < 0.5 else []
    begin += [(0.0, "standby", ""), (6.0, "plug", random.choice(("cable", "office"))), (8.0, "look", "")]
    _, rtt_s, steps = _drawn(random, names, words, 1, 40)
    # A spare master is made 5 s after a change.
    settled = tuple((random.choice((pause, 8.0)), word, which) for pause, word, which in steps)
    return names, rtt_s, (*begin, *settled)


def history_of_requests(seed: int) -> History:
    """Return the history of a seed in which the user logs in and requests forwards, and the laptop has obstacles."""
    random = Random(seed)  # noqa: S311  # not secret, see `history`
    names = tuple(dict.fromkeys((*random.sample(ROAMERS, 1), *_names(random, many=False))))
    words = [*REQUESTS, *REQUESTS, "plug", "unplug", *AROUND_THEM, "vpn up", "vpn down", "agent restarts"]
    words += random.sample(sorted(WORDS), 8)
    begin = ((0.0, "roam", ""),) if random.random() < 0.3 else ()
    return _drawn(random, names, words, 1, 25, begin)


def history_of_nodes(seed: int) -> History:
    """Return the history of a seed in which a host's name leads to two machines with one host key."""
    random = Random(seed)  # noqa: S311  # not secret, see `history`
    names = ("login", *random.sample(ROAMERS[:3], random.randint(0, 1)))
    words = ["other node", *AROUND_THEM, *BESIDE_THEM, "stuck", "session", "vpn up", "vpn down"]
    words += random.sample(sorted(WORDS), 3)
    begin = ((0.0, "roam", ""),) if random.random() < 0.3 else ()
    return _drawn(random, names, words, 1, 25, begin)


def history_of_reports(seed: int) -> History:
    """Return the history of a seed in which a network manager names networks and notices captive portals."""
    random = Random(seed)  # noqa: S311  # not secret, see `history`
    names = tuple(dict.fromkeys((*RESTRICTED, *_names(random, many=False))))
    words = [*REPORTS, "plug", "unplug", *AROUND_THEM, "vpn up", "vpn down", "agent restarts", "reconnect"]
    words += random.sample(sorted(WORDS), 5)
    steps = tuple(_step(random, words, names) for _ in range(random.randint(1, 25)))
    return names, random.choice(RTTS_S), ((0.0, "manager runs", ""), *steps)


def _names(random: Random, *, many: bool) -> tuple[str, ...]:
    """Return random hosts with their jump hosts.

    Some draws have several hosts on one server or behind one bastion, or two names with one connection.
    """
    singles = sorted(set(CAST) - set(FLEET) - set(RESTRICTED) - set(SHARING))
    names = random.sample(singles, random.randint(1, 4))
    match random.randint(0, 9):
        case 0 | 1:
            names = [*random.sample((*SEVERAL, *ALIASES), random.randint(2, 4)), *names[:1]]
        case 2:
            names = [*FLEET[: random.choice((3, 4, 12)) if many else 3], *names[:1]]
        case 3:
            names = [*SHARING, *names[:1]]
    return tuple(dict.fromkeys(other for name in names for other in (*jumps(name), name)))


def _drawn(
    random: Random,
    names: tuple[str, ...],
    words: list[str],
    least: int,
    most: int,
    begin: tuple[Step, ...] = (),
) -> History:
    """Return a history that begins with `begin`, followed by `least` to `most` random steps with these words."""
    steps = tuple(_step(random, words, names) for _ in range(random.randint(least, most)))
    return names, random.choice(RTTS_S), (*begin, *steps)


def _step(random: Random, words: list[str], names: tuple[str, ...]) -> Step:
    word = random.choice(words)
    which = random.choice(_OBJECTS[word])
    return random.choice(PAUSES_S), word, random.choice(names) if which == "*" else which


def shortest(history: History, breaks: Callable[[History], bool]) -> History:
    """Return a shorter history that still breaks, without unnecessary steps, hosts and pauses."""
    names, rtt_s, steps = history
    size = max(len(steps) // 2, 1)
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if breaks((names, rtt_s, fewer)):
                steps = fewer
            else:
                at += size
        size //= 2
    for name in names:
        fewer_names = tuple(n for n in names if n != name)
        if breaks((fewer_names, rtt_s, steps)):
            names = fewer_names
    for at, (pause, word, which) in enumerate(steps):
        hasty = (*steps[:at], (0.0, word, which), *steps[at + 1 :])
        if pause and breaks((names, rtt_s, hasty)):
            steps = hasty
    return names, rtt_s, steps
