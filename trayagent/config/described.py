"""What each key of the configuration is for: the one source of its reference and of the manual page.

Types, choices and defaults stand in the model. In the texts, `words` like these are what one types or reads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from trayagent.config.model import Agent, Host, Vpn


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `text` is for every page, `more` for the one that has room.

    `example` is a value in TOML, for a key whose default is nothing.
    """

    name: str
    text: str
    more: str = ""
    example: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the file, with its keys in the model's order."""

    title: str
    struct: type[msgspec.Struct]
    text: str
    keys: tuple[Key, ...]

    def shown(self, key: Key) -> str:
        """Return a key's default, or its example, as TOML writes it."""
        default = self._field(key).default
        return key.example if default in (None, ()) else json.dumps(default)

    def has_default(self, key: Key) -> bool:
        """Report whether what `shown` returns is the default."""
        return self._field(key).default not in (None, ())

    def _field(self, key: Key) -> Any:
        return next(f for f in msgspec.structs.fields(self.struct) if f.name == key.name)


TABLES = (
    Table(
        "agent",
        Agent,
        "What holds for all hosts.",
        (
            Key(
                "adopt",
                "Look after every ssh master of this user, not only those of the hosts that are listed.",
                "An adopted master is recovered if it was up. Where no alias of ssh_config leads to its control path, "
                "it is ended once it is proven dead, so that nothing hangs on it, and not started again.",
            ),
            Key(
                "keep_while_offline",
                "How long a master may wait, with no usable network, for its own network to return.",
                "Time asleep does not count, and nothing is ended in the first minute after a wake.",
            ),
            Key(
                "learn_vpn",
                "Remember the VPN through which a host with a private address was reached, and wait for it elsewhere.",
                "At each new network one login is tried without the VPN if ssh checks the host key. A host that was "
                "reached at a public address waits for no VPN. With `false`, only the key `vpn` of a host counts.",
            ),
            Key(
                "notify",
                "Which messages are shown: `problems`, what only you can solve and losses that last; `all`, also each "
                "recovery; or `none`.",
            ),
            Key("history", "How long events are remembered for `trayagent history`."),
        ),
    ),
    Table(
        "hosts.NAME",
        Host,
        "NAME is a name that `ssh NAME` understands.",
        (
            Key(
                "connect",
                "`always`: keep it connected. `on-use`: bring it back if it was up. `never`: leave it alone.",
                "What you end yourself (`trayagent disconnect`, `ssh -O exit`) stays ended until `trayagent reconnect` "
                "or the next ssh of yours.",
            ),
            Key(
                "local",
                "Forwards as the argument of `ssh -L`, word for word, besides those that ssh_config gives the host.",
                "Each end is a port or a Unix socket. Each forward is opened and tried again by itself; a change of "
                "the list needs no reconnect.",
                '["8080:localhost:80"]',
            ),
            Key(
                "remote",
                "The same for `ssh -R`.",
                "A port of 0 lets the server choose; `trayagent status` shows which it chose.",
                '["22221:localhost:22"]',
            ),
            Key("dynamic", "The same for `ssh -D`: a SOCKS proxy.", example='["1080"]'),
            Key(
                "session",
                "What `trayagent attach` runs there: `tmux`, `screen`, `shell`, or a list of words to run.",
                "`tmux` and `screen` return to the same session; a shell or a command is started anew.",
            ),
            Key(
                "vpn",
                "It can be reached only while this VPN is up.",
                "NAME of a table `[vpns.NAME]`. Without this key, the agent may learn a VPN: see `learn_vpn`.",
                '"corp"',
            ),
            Key(
                "networks",
                "Where it may be connected or, with `!`, may not: NetworkManager connections or SSIDs.",
                "Patterns such as `Home*` are allowed. On a network without a known name only a list of `!` entries "
                "lets it pass. `trayagent reconnect NAME` goes anywhere.",
                '["!Airport WiFi"]',
            ),
            Key(
                "reap",
                "End our own dead session on the server when it still holds a remote forward.",
                "Only a process whose pid, start time and boot were noted when it was ours, and whose master here is "
                "gone; and the Unix socket that such a forward left.",
            ),
            Key(
                "interactive",
                "A person is asked at every login (a touch, a browser), so the agent begins none by itself.",
                "`trayagent login NAME`, `trayagent reconnect NAME` and the menu still do. Passwords, codes and "
                "passphrases are noticed without this key; `ssh-add -c` and smart cards are not.",
            ),
            Key(
                "probe",
                "How it is asked whether it lives: `session`, or `forward` for an account with a forced command.",
                "`session` keeps one idle process on the server; an account that cannot have one is noticed and "
                "remembered. `forward` asks for a connection to a port of the server that nobody listens on.",
            ),
            Key(
                "agent_socket",
                "A link on the server that always leads to the socket of the living connection's forwarded ssh-agent.",
                "Needs `ForwardAgent yes` in ssh_config, and `SSH_AUTH_SOCK` set to this path in tmux or screen there. "
                "Of several laptops, the one that attached last has it.",
                '"~/.ssh/agent.sock"',
            ),
        ),
    ),
    Table(
        "vpns.NAME",
        Vpn,
        "How a VPN is seen; `interface`, `networkmanager` or both are given.",
        (
            Key("interface", "The name of its interface; `*` and `?` stand for any signs.", example='"tun*"'),
            Key(
                "networkmanager",
                "Its NetworkManager connection, by the name that your desktop shows.",
                example='"Corp VPN"',
            ),
            Key(
                "sign_in",
                'What "Sign in" in the menu or the message starts, in a terminal.',
                "Without it, NetworkManager is asked to bring its connection up, and asks you in its own window.",
                '["nmcli", "--ask", "connection", "up", "Corp VPN"]',
            ),
            Key("grace", "How long it may take to come back by itself before you are asked."),
        ),
    ),
)
