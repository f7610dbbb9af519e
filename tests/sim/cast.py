"""The hosts of the simulation: their configuration, their servers, and the answers of `ssh -G`."""

from __future__ import annotations

from msgspec import Struct

from tests.sim.handshake import Leg, shown_key
from tests.sim.net import HOME_ONLY, INTERNAL, NODES, OUTER, PUBLIC
from trayagent.core.facts.forwards import End, Forward, ForwardKind
from trayagent.core.facts.hosts import Hop, Wish
from trayagent.core.facts.resolved import HostKeyChecking, Resolved
from trayagent.core.facts.vpns import Vpn


class Role(Struct, frozen=True):
    """One host. If `wish` is None, the configuration does not list it: it is an unnamed master or an unlisted alias.

    `peer` is the server's address, if it is reachable without a jump host. `by_name`: ssh_config has a name instead
    of an address. `alias_of_server`: another name of the same server, under which the server shows a key of
    `key_type`. `moves`: the connections use MPTCP. `varies`: the answer of `ssh -G` may differ
    between networks. `nodes`: the addresses of several machines to which the name leads. `ported`: its far relay
    listens on a TCP port, to which the laptop may connect directly. `shares`: the name whose control path this one
    has, too.
    """

    name: str
    peer: str
    machine: str
    wish: Wish | None
    strict: HostKeyChecking = "ask"
    jump: str | None = None
    alias: bool = True
    by_name: bool = False
    alias_of_server: str = ""
    user: str = "me"
    moves: bool = False
    key_type: str = "ssh-ed25519"
    varies: bool = False
    nodes: tuple[str, ...] = ()
    ported: bool = False
    shares: str | None = None

    @property
    def path(self) -> str:
        """The ControlPath in ssh_config."""
        return f"/cm/{self.shares or self.name}"

    @property
    def hostname(self) -> str:
        """The name or address that ssh connects to."""
        return f"{self.alias_of_server or self.machine}.example.net" if self.by_name else self.peer

    @property
    def known_keys(self) -> frozenset[str]:
        """The server's keys in known_hosts. With strict checking, ssh logs in only if they match.

        With StrictHostKeyChecking no, ssh still stores the first key that it saw under a name.
        """
        key = shown_key(self.machine, self.key_type)
        kept = self.strict in {"yes", "ask"} or (self.strict == "no" and self.alias_of_server != "")
        return frozenset({key}) if key is not None and kept else frozenset()

    def resolved(self) -> Resolved:
        """Return the answer of `ssh -G`."""
        return Resolved(
            self.name,
            self.hostname,
            self.user,
            control_path=self.path,
            proxy_jump=self.jump,
            strict_host_key_checking=self.strict,
            plain_connect=bool(self.nodes) or self.ported,
        )

    def hop(self) -> Hop:
        """Return the first TCP hop of the host."""
        return first_hop(self).as_hop()

    def later_hops(self) -> tuple[Hop, ...]:
        """Return the jump hosts after the first TCP hop."""
        return tuple(CAST[name].as_hop() for name in reversed(jumps(self.name)[:-1]))

    def as_hop(self) -> Hop:
        """Return this host as a hop of other hosts."""
        return Hop(self.hostname, 22, self.user, known_keys=self.known_keys)

    def leg(self) -> Leg:
        """Return this host's step in a handshake, after all earlier hops."""
        return Leg(self.hostname, self.machine, self.user, self.strict, self.moves)


def first_hop(role: Role) -> Role:
    """Return the host to which ssh opens the TCP connection: the outermost jump host, or the host itself."""
    while role.jump is not None:
        role = CAST[role.jump]
    return role


def sharing(name: str) -> tuple[str, ...]:
    """Return all names with the control path of this one, beginning with it. Unknown names stand alone."""
    path = CAST[name].path if name in CAST else None
    return (name, *(role.name for role in CAST.values() if role.path == path and role.name != name))


def jumps(name: str) -> tuple[str, ...]:
    """Return the jump hosts of a host, beginning with the one nearest to the host."""
    jump = CAST[name].jump
    return () if jump is None else (jump, *jumps(jump))


def _listed(**words: object) -> Wish:
    return Wish(listed=True, **{"connect": "always", **words})  # type: ignore[arg-type]


def _forward(kind: ForwardKind, port: int) -> Forward:
    target = None if kind == "dynamic" else End("localhost", 80)
    return Forward(kind, End("", port), target, f"{port}")


_LOCAL, _REMOTE, _DYNAMIC = _forward("local", 8080), _forward("remote", 22221), _forward("dynamic", 1080)
VPNS = (Vpn("corp", "tun*"),)
RESTRICTED = ("desk",)  # allowed only on networks that the network manager identifies by name
SEVERAL = ("web1", "web2", "web3", "web4")  # hosts on the same server, with the same account
# Other names of the same server and account. known_hosts has three of them.
ALIASES: dict[str, HostKeyChecking] = {
    "git": "ask",
    "wiki": "accept-new",
    "mail": "accept-new",
    "old": "no",
    "rsa": "ask",
}
FORWARDS_AGENT = ("web", "open", "web2")  # the agent links the ssh-agent's socket on their servers
SHARING = ("pair", "mate")  # one connection serves both names
FLEET = tuple(f"rack{number}" for number in range(12))  # hosts behind one bastion, which is not listed itself
CAST = {
    role.name: role
    for role in (
        Role("web", PUBLIC, "web", _listed(forwards=(_LOCAL, _REMOTE)), by_name=True),
        Role("nas", HOME_ONLY, "home", _listed(), strict="no"),
        Role("lab", HOME_ONLY, "home", _listed(forwards=(_REMOTE,))),
        Role("db", INTERNAL, "internal", _listed(forwards=(_DYNAMIC,)), by_name=True, varies=True),
        Role("corp", INTERNAL, "internal", _listed(vpn="corp"), strict="no"),
        Role("use", PUBLIC, "web", _listed(connect="on-use", forwards=(_DYNAMIC,))),
        Role("touch", PUBLIC, "web", _listed(interactive=True), ported=True),
        Role("behind", "", "nook", _listed(), jump="web", by_name=True),
        Role("adhoc", PUBLIC, "web", None),
        Role("stranger", PUBLIC, "web", None, alias=False),
        Role("deploy", HOME_ONLY, "home", None, strict="no", alias=False),
        Role("open", PUBLIC, "web", _listed(), strict="no", user="guest", varies=True),
        Role("fresh", HOME_ONLY, "home", _listed(), strict="accept-new"),
        Role("desk", PUBLIC, "web", _listed(networks=("home",)), by_name=True, user="desk"),
        Role("login", NODES[0], "node1", _listed(), by_name=True, user="hpc", nodes=NODES, ported=True),
        Role("roams", PUBLIC, "web", _listed(), by_name=True, moves=True),
        # two names with one account and one control path
        Role("pair", PUBLIC, "web", _listed(forwards=(_LOCAL,)), by_name=True, user="pair"),
        Role("mate", PUBLIC, "web", _listed(forwards=(_DYNAMIC,)), by_name=True, user="pair", shares="pair"),
        *(Role(name, PUBLIC, "web", _listed(), by_name=True, user="ops") for name in SEVERAL),
        *(
            Role(
                name,
                PUBLIC,
                "web",
                _listed(),
                strict,
                by_name=True,
                alias_of_server=name,
                user="ops",
                key_type="ssh-rsa" if name == "rsa" else "ssh-ed25519",
            )
            for name, strict in ALIASES.items()
        ),
        Role("bastion", OUTER, "outer", _listed(), by_name=True),
        Role("inner", "", "inner", _listed(forwards=(_REMOTE,)), jump="bastion", by_name=True),
        Role("deep", "", "deep", _listed(), jump="inner", by_name=True),
        Role("gate", OUTER, "outer", None, by_name=True, user="gate"),
        # the same jump host as `inner`, behind another bastion
        Role("annex", "", "inner", None, jump="gate", by_name=True),
        Role("well", "", "well", _listed(), jump="annex", by_name=True),
        Role("ship", "", "inner", _listed(), jump="gate", by_name=True, user="ship"),
        *(Role(name, "", name, _listed(), jump="gate", by_name=True, user=name) for name in FLEET),
    )
}
