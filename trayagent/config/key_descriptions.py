"""Describe each key of the configuration: the only source of its reference and of the manual page.

Types, choices and defaults are in the model. In the texts, words in backticks are verbatim input or output.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Struct

from trayagent.config.model import Agent, Host, Vpn


class Key(Struct, frozen=True):
    """The description of a key. `text` is for the reference and the manual page, `more` only for the reference.

    `example` is a value in TOML, for a key without a default.
    """

    name: str
    text: str
    more: str = ""
    example: str = ""


class Table(Struct, frozen=True):
    """One table of the file, with its keys in the model's order."""

    title: str
    struct: type[msgspec.Struct]
    text: str
    keys: tuple[Key, ...]

    def shown(self, key: Key) -> str:
        """Return a key's default, or its example, in TOML."""
        default = self._field(key).default
        return key.example if default in (None, ()) else json.dumps(default)

    def has_default(self, key: Key) -> bool:
        """Report whether `shown` returns the default."""
        return self._field(key).default not in (None, ())

    def _field(self, key: Key) -> Any:
        return next(f for f in msgspec.structs.fields(self.struct) if f.name == key.name)


TABLES = (
    Table(
        "agent",
        Agent,
        "Settings for all hosts.",
        (
            Key(
                "adopt",
                "Whether to adopt every ssh master of this user, not only those of the listed hosts.",
                "The agent replaces a stale adopted master. If no alias in ssh_config has its control path, its "
                "options are unknown. Then the agent only ends it once it is proven stale, so that no program hangs.",
            ),
            Key(
                "keep_while_offline",
                "How long a master without a usable route may wait for its network to return.",
                "Time asleep does not count, and the agent ends no master in the first minute after a wake.",
            ),
            Key(
                "learn_vpn",
                "Whether to remember the VPN through which a host with a private address was reached, and wait for it "
                "elsewhere.",
                "On each new network, the agent tries one login without the VPN if ssh checks the host key. A host "
                "that was reached at a public address needs no VPN. With `false`, only the key `vpn` of a host counts.",
            ),
            Key(
                "beside",
                "What to do with ssh sessions that have their own connection beside a master: `show` or `end` them.",
                "Such a session hangs after a change of network, because the agent cannot replace it. With `end`, the "
                "agent ends it once its local address is gone and its server answers from the new network. Its "
                "terminal is free at once, and autossh or a unit starts it again. This also applies to ssh of hosts "
                'that are not listed. The `connect = "never"`, `vpn` and `networks` of a listed host apply to each '
                "ssh that may lead to it: by its name, its address or a jump host. The agent never ends a session "
                "whose address is still there. It leaves a suspended session (Ctrl-Z) alone until it continues.",
            ),
            Key(
                "notify",
                "Which notifications you get: `problems` (those that only you can solve, and connections that stay "
                "down), `all` (also each recovery) or `none`.",
            ),
            Key("history", "How long events are kept for `trayagent history`."),
            Key(
                "roam",
                "Whether to keep the sessions of all listed hosts open across changes of network, where the server "
                "allows it.",
                "A shell, an rsync or a forwarded connection continues. [Roaming](docs/roaming.md) says what the "
                "server needs. The key `roam` of a host overrides this one. A host whose login needs you "
                "roams only with `roam_port`.",
            ),
            Key(
                "roam_for",
                "How long sessions wait for a laptop that is away, at most 30 days.",
                "It applies to connections that begin to roam after the change.",
            ),
            Key(
                "mptcp",
                "Whether new connections use Multipath TCP where `trayagent doctor` has seen the server answer it.",
                "Such a connection moves to another network with its sessions. [Multipath TCP](docs/mptcp.md) says "
                "what the server needs. While a VPN carries the connection, the agent uses plain TCP.",
            ),
        ),
    ),
    Table(
        "hosts.NAME",
        Host,
        "NAME is a name that `ssh NAME` understands.",
        (
            Key(
                "connect",
                "`always`: keep it connected. `on-use`: reconnect it if it was up. `never`: leave it alone.",
                "A host that you disconnect (`trayagent disconnect`, `ssh -O exit`) stays disconnected until "
                "`trayagent reconnect` or your next ssh. There are two exceptions. After a change of network, "
                "`ssh -O exit` counts only once the connection has answered, because scripts run it to get a new "
                "connection. If the agent did not start the connection of an `always` host, it cannot tell "
                "`ssh -O exit` from a loss, and connects again. A time in `ControlPersist` ends the connection of an "
                "`on-use` host that long after its last session or connection through a forward. `always` ignores it.",
            ),
            Key(
                "local",
                "Forwards, each as the argument of `ssh -L`, in addition to those in ssh_config.",
                "Each end is a port or a Unix socket. The agent opens and retries each forward separately. A change of "
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
                "What `trayagent attach` runs on the server: `tmux`, `screen`, `shell`, or a command (a list).",
                "`tmux` and `screen` return to the same session. A shell or a command starts again.",
            ),
            Key(
                "vpn",
                "The host can be reached only while this VPN is up.",
                "NAME of a table `[vpns.NAME]`. Without this key, the agent may learn a VPN: see `learn_vpn`.",
                '"corp"',
            ),
            Key(
                "networks",
                "Networks where the host may be connected or, with `!` before the name, where it may not.",
                "A name is a NetworkManager connection or an SSID. Patterns such as `Home*` are allowed. On a "
                "network without a name, the host is connected only if all entries begin with `!`. "
                "`trayagent reconnect NAME` ignores this key.",
                '["!Airport WiFi"]',
            ),
            Key(
                "reap",
                "Whether to end the agent's own lost session on the server when it still holds the port of a remote "
                "forward.",
                "The agent ends only a process whose pid, start time and boot it recorded while connected, and whose "
                "master on this machine is gone. It also removes the Unix socket that such a forward left.",
            ),
            Key(
                "interactive",
                "Whether every login needs you (a touch, a browser). With `true`, the agent starts none automatically.",
                "`trayagent login NAME`, `trayagent reconnect NAME` and the menu still start one. The agent recognizes "
                "passwords, codes and passphrases without this key, but not `ssh-add -c` and smart cards.",
            ),
            Key(
                "probe",
                "How the agent probes the connection: `session`, or `forward` for an account with a forced command.",
                "`session` keeps one idle process on the server. The agent detects an account that cannot run one, and "
                "remembers it. `forward` requests a connection to a port of the server on which nothing listens.",
            ),
            Key(
                "agent_socket",
                "A symbolic link on the server that always leads to the forwarded ssh-agent of the living connection. "
                "A recovery updates it before the host is shown as connected, which takes two round trips.",
                "Requires `ForwardAgent yes` in ssh_config, and `SSH_AUTH_SOCK` set to this path in tmux or screen on "
                "the server. With several laptops, the link leads to the one that attached last.",
                '"~/.ssh/agent.sock"',
            ),
            Key(
                "roam",
                "Whether to keep the host's sessions open across changes of network. `roam` in [agent] is for all "
                "hosts.",
                "A server that cannot do this keeps an ordinary connection. `trayagent why NAME` shows the reason. "
                "`false` takes effect when the connection ends.",
                "true",
            ),
            Key(
                "roam_port",
                'A TCP port of the server, or a range such as `"60001-60010"`. Through it, the sessions of a host that '
                "roams continue sooner after a move.",
                "The relay on the server listens there, and accepts only this laptop's sessions. One connection uses "
                "one port. If the port is taken or a firewall blocks it, the sessions continue over the ssh "
                "connection, as without this key. A host whose login needs you also roams with this key, unless "
                "`roam` is `false`: `trayagent login` then asks you twice, and moves need no login. It applies to "
                "connections that begin to roam after the change. First "
                "read [what the port bypasses](docs/security.md#the-direct-port).",
                "60001",
            ),
            Key(
                "standby",
                "Whether to keep a spare connection on a second network, such as the Wi-Fi beside a cable, so that "
                "unplugging the first one costs two round trips instead of a login.",
                'It needs `connect = "always"`, and costs one more login for each pair of networks. There is none on a '
                "metered network, while a tunnel is up that may have to carry it, for a host behind a jump host or a "
                "VPN, and for a login that needs you. `trayagent why NAME` shows the reason. Without NetworkManager, "
                "only a cable counts as unmetered. [Standby](docs/roaming.md#standby) has the rules.",
            ),
        ),
    ),
    Table(
        "vpns.NAME",
        Vpn,
        "How the agent detects a VPN. Set `interface`, `networkmanager` or both.",
        (
            Key(
                "interface",
                "The name of the VPN's interface, with `*` and `?` as wildcards.",
                example='"tun*"',
            ),
            Key(
                "networkmanager",
                "The name of its NetworkManager connection, as your desktop shows it.",
                example='"Corp VPN"',
            ),
            Key(
                "sign_in",
                'The command that "Sign in" in the menu or the notification runs in a terminal.',
                "Without it, NetworkManager brings the connection up and asks you in its own window.",
                '["nmcli", "--ask", "connection", "up", "Corp VPN"]',
            ),
            Key("grace", "How long the VPN may take to return automatically before you are notified."),
        ),
    ),
)
