"""Define the configuration as the user wrote it, as frozen structs.

The attributes are the file's keys. The properties compute values from these attributes.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from trayagent.config import parse_duration, value_checks
from trayagent.core.facts import forward_spec
from trayagent.core.facts.forwards import Forward


def _checked(check: Any, what: str) -> Meta:
    """Return metadata that attaches a check to a type. `what` describes valid values, for the error's hint."""
    return Meta(extra={"check": check}, description=what)


Duration = Annotated[str, _checked(value_checks.duration, parse_duration.FORM)]
Label = Annotated[str, _checked(value_checks.label, "the name as your desktop shows it")]
Network = Annotated[
    str,
    _checked(value_checks.network, 'a NetworkManager connection or SSID, with "!" before it to forbid it'),
]
LocalForward = Annotated[
    str, _checked(value_checks.local_forward, 'the argument of ssh -L, as in "8080:localhost:80"')
]
RemoteForward = Annotated[
    str, _checked(value_checks.remote_forward, 'the argument of ssh -R, as in "22221:localhost:22"')
]
DynamicForward = Annotated[
    str, _checked(value_checks.dynamic_forward, 'the argument of ssh -D, as in "1080"')
]
Interface = Annotated[str, _checked(value_checks.interface_glob, 'an interface name or glob, as in "tun*"')]
FarPath = Annotated[str, _checked(value_checks.far_path, 'a path on the server, as in "~/.ssh/agent.sock"')]
_PORT_RANGE = _checked(value_checks.port_range, 'a port of the server, as in 60001, or "60001-60010"')
PortRange = Annotated[int, _PORT_RANGE] | Annotated[str, _PORT_RANGE]
Word = Annotated[str, _checked(value_checks.word, "a word of a command")]
Command = Annotated[
    tuple[Word, ...],
    _checked(value_checks.command, "a list of words, the program first"),
]


_ROAM_FOR_MAX_S = 30 * 86_400  # the relays' own limit


class Agent(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table [agent]."""

    adopt: bool = True
    keep_while_offline: Duration = "10m"
    learn_vpn: bool = True
    beside: Literal["show", "end"] = "show"
    notify: Literal["all", "problems", "none"] = "problems"
    history: Duration = "90d"
    roam: bool = False
    roam_for: Duration = "12h"
    mptcp: bool = True

    @property
    def keep_while_offline_s(self) -> int:
        """How long a master may wait without a usable network, in seconds."""
        return parse_duration.parse(self.keep_while_offline)

    @property
    def roam_for_s(self) -> int:
        """How long the sessions of a host that roams wait for a new link, in seconds; at most 30 days."""
        return min(parse_duration.parse(self.roam_for), _ROAM_FOR_MAX_S)

    @property
    def history_s(self) -> int:
        """How long the history is kept, in seconds."""
        return parse_duration.parse(self.history)


class Host(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """A table [hosts.NAME]."""

    connect: Literal["always", "on-use", "never"] = "always"
    local: tuple[LocalForward, ...] = ()
    remote: tuple[RemoteForward, ...] = ()
    dynamic: tuple[DynamicForward, ...] = ()
    session: Literal["tmux", "screen", "shell"] | Command = "shell"
    vpn: str | None = None
    networks: tuple[Network, ...] = ()
    reap: bool = True
    interactive: bool = False
    probe: Literal["session", "forward"] = "session"
    agent_socket: FarPath | None = None
    roam: bool | None = None
    roam_port: PortRange | None = None
    standby: bool = False

    @cached_property
    def forwards(self) -> tuple[Forward, ...]:
        """The forwards of the three lists: local, then remote, then dynamic."""
        return (
            *(forward_spec.parse("local", spec) for spec in self.local),
            *(forward_spec.parse("remote", spec) for spec in self.remote),
            *(forward_spec.parse("dynamic", spec) for spec in self.dynamic),
        )


class Vpn(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table [vpns.NAME]; at least one of `interface` and `networkmanager` is set."""

    interface: Interface | None = None
    networkmanager: Label | None = None
    sign_in: Command | None = None
    grace: Duration = "8s"

    @property
    def grace_s(self) -> int:
        """How many seconds the VPN has to return automatically, before the user is notified."""
        return parse_duration.parse(self.grace)


EVENTS = (
    "network-changed",
    "resumed",
    "master-adopted",
    "master-stale",
    "master-killed",
    "master-kept",
    "draining",
    "drained",
    "roaming",
    "roaming-failed",
    "moved",
    "connecting",
    "connected",
    "disconnected",
    "connect-failed",
    "forward-open",
    "forward-failed",
    "forward-found",
    "forward-unknown",
    "forward-ended",
    "vpn-changed",
    "sign-in-needed",
    "paused",
    "resumed-by-user",
    "configuration-changed",
    "configuration-rejected",
)


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. The keys of `hooks` are event names with _ instead of -."""

    agent: Agent = Agent()
    hosts: dict[str, Host] = {}
    vpns: dict[str, Vpn] = {}
    hooks: dict[str, Command] = {}

    def hook(self, event: str) -> tuple[str, ...]:
        """Return the command for an event (its name with -), () if it has no hook. ~ in the first word is expanded."""
        words = self.hooks.get(event.replace("-", "_"), ())
        return (str(Path(words[0]).expanduser()), *words[1:]) if words else ()
