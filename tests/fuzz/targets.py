"""The targets of `make fuzz`: parsers of what other programs, servers and users write.

Each takes arbitrary bytes. It allows the exceptions that its parser documents, and raises any other one. Some also
check what a parser promises, such as that it reads what was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, get_args

from dbus_fast import Message, MessageType

from trayagent.config.errors import ConfigError
from trayagent.config.load_file import check
from trayagent.core.facts.forward_spec import parse, unparse
from trayagent.core.facts.forwards import Forward, ForwardKind
from trayagent.errors import TrayagentError
from trayagent.init import cron, launchd, shell_files, systemd_text
from trayagent.init.found_on_machine import Machine
from trayagent.init.shell_calls import calls
from trayagent.ipc import check_requests, messages
from trayagent.ipc.errors import AgentSilent, BadRequest, Refused
from trayagent.net.vpn import networkmanager_constants as words
from trayagent.net.vpn.networkmanager_signals import Plugins, apply
from trayagent.net.vpn.networkmanager_state import Picture
from trayagent.netlink import inet_diag, rtnetlink, unix_diag, wire
from trayagent.netlink.errors import NetlinkError
from trayagent.roaming.far_relay_and_resend_buffer import LinkError, Stream
from trayagent.roaming.near_session import NearLink
from trayagent.ssh import command_line, forward_log, resolve, ssh_config_text
from trayagent.ssh.login.classify_failure import classify
from trayagent.ssh.login.key_exchange_log import read_key_exchange
from trayagent.ssh.mux.errors import Gone, LocalProtocolError, RemoteProtocolError
from trayagent.ssh.mux.message_order import Connection
from trayagent.ssh.mux.messages import Hello, Unknown, decode, encode
from trayagent.ssh.mux.requests import AliveCheck, NewSession
from trayagent.ssh.remote import own_sessions, run_script

_KINDS: tuple[ForwardKind, ...] = get_args(ForwardKind)
_MACHINE = Machine("me", 1000, Path("/home/me"), {"HOME": "/home/me", "HOST": "web01"})


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def config(data: bytes) -> None:
    """Check a text as the configuration."""
    with suppress(ConfigError):
        check(Path("/config.toml"), data.decode(errors="replace"))


def forward(data: bytes) -> None:
    """Parse the argument of -L, -R or -D, and read what is written for its ends. The first byte chooses the option."""
    if not data:
        return
    kind, spec = _KINDS[data[0] % len(_KINDS)], _text(data[1:])
    try:
        found = parse(kind, spec)
    except ValueError as error:
        assert str(error).isprintable()
        return
    assert parse(kind, unparse(found.listen, found.target)) == found


def ssh_g(data: bytes) -> None:
    """Parse the output of `ssh -G`. The forwards in it can be written as arguments."""
    with suppress(TrayagentError):
        for found in resolve.parse(_text(data)).forwards:
            _same_again(found)


def _same_again(found: Forward) -> None:
    """Check that the argument for a forward leads to the same forward, if it is one that ssh accepts."""
    with suppress(ValueError):
        assert parse(found.kind, found.spec) == found


def ssh_config(data: bytes) -> None:
    """Read a file of ssh_config."""
    path = _file(data)
    ssh_config_text.network_dependent([path])
    ssh_config_text.canonicalizes([path])
    ssh_config_text.blocks(path)
    ssh_config_text.control_paths(path)


def ssh_words(data: bytes) -> None:
    """Read the command line of an ssh process, with a NUL between its words."""
    argv = _text(data).split("\0")
    with suppress(command_line.NotUnderstood):
        command_line.parse(argv)
    command_line.forwards_of(argv)
    command_line.host_of(argv)
    command_line.jump_host_of(argv)
    command_line.server_names_of(argv)


def ssh_log(data: bytes) -> None:
    """Read the log of an ssh."""
    text = _text(data)
    exchange = read_key_exchange(text, None)
    classify(text, host="web", others=text, proven=exchange.after)
    for request in forward_log.requests(text):
        _same_again(request.forward)


def mux(data: bytes) -> None:
    """Read the messages of a master, and those of a client. A known message is written as it was read."""
    connection = Connection()
    connection.send(Hello())
    questions = iter((AliveCheck(0), NewSession(1, "id"), AliveCheck(2)))
    with suppress(RemoteProtocolError, LocalProtocolError):
        for at in range(0, len(data), 7):
            connection.receive_data(data[at : at + 7])
            while connection.next_event() is not None:
                if (question := next(questions, None)) is not None:
                    connection.send(question)
    with suppress(RemoteProtocolError):
        message = decode(data)
        if not isinstance(message, Unknown):
            assert decode(encode(message)[4:]) == message


def ipc(data: bytes) -> None:
    """Parse a request of a client, and an answer of the agent."""
    with suppress(BadRequest):
        check_requests.parse(data)
    for kind in ("result", "item"):
        with suppress(Refused, AgentSilent):
            messages.read_reply(data, kind)


def netlink(data: bytes) -> None:
    """Parse the kernel's messages."""
    parsers: tuple[Callable[[bytes], object], ...] = (
        rtnetlink.parse_link,
        rtnetlink.parse_address,
        rtnetlink.parse_route,
        rtnetlink.parse_neighbour,
        inet_diag.parse_tcp,
        unix_diag.parse_unix,
        wire.error_of,
    )
    with suppress(NetlinkError):
        for message in wire.messages(data):
            for read in parsers:
                with suppress(NetlinkError):
                    read(message.body)


def dbus(data: bytes) -> None:
    """Apply NetworkManager's signals. Each line is a JSON value for the properties of an active connection."""
    picture, plugins = Picture(lambda _key, _what: None), Plugins()
    for number, line in enumerate(data.split(b"\n")[:20]):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        properties = value if isinstance(value, dict) else {"State": value, "Uuid": value, "Type": value}
        path = words.ROOT if number % 3 == 0 else f"{words.ACTIVE_PATHS}{number % 2}"
        interface = words.NAME if path == words.ROOT else words.ACTIVE
        signal = Message(
            message_type=MessageType.SIGNAL,
            path=path,
            interface=words.PROPERTIES,
            member="PropertiesChanged",
            signature="sa{sv}as",
        )
        apply(signal, [interface, properties, []], picture, plugins)
        picture.active_state(path, number % 5, number)
        picture.facts()


def far_side(data: bytes) -> None:
    """Read the output of a script on the server, and the stream of a far relay."""
    output = _text(data)
    with suppress(Gone):
        lines = run_script._between(f"{run_script.BEGIN}\n{output}\n{run_script.END}\n")
        own_sessions._found(lines or [], (), ("/run/x",))
    own_sessions.parse_session(output)
    link, unread = NearLink(Stream(), "n" * 16, "s" * 32, None), b""
    with suppress(LinkError):
        for at in range(0, len(data), 50):
            unread += data[at : at + 50]
            unread = unread[link.receive(memoryview(unread), float(at)) :]


def init(data: bytes) -> None:
    """Read units, crontabs, shell files and launchd jobs."""
    text = _text(data)
    unit = systemd_text.parse(text)
    with suppress(ValueError):
        env = systemd_text.environment(unit, [text], {"h": "/home/me"})
        list(systemd_text.commands(unit, env, {"h": "/home/me"}))
    with suppress(ValueError):
        list(calls(text, {"HOST": "web01"}))
    list(cron.lines(_MACHINE, "crontab", text))
    list(cron.lines(_MACHINE, "/etc/crontab", text, with_user=True))
    list(shell_files.lines(_MACHINE, Path("/home/me/.bashrc"), text))
    if b"plist" in data:
        list(launchd._file(_MACHINE, _file(data), "system"))


def _file(data: bytes) -> Path:
    """Return a file with this content. It exists until the next call."""
    if not _files:
        _files.append(NamedTemporaryFile())  # noqa: SIM115  # open until the process ends
    path = Path(_files[0].name)
    path.write_bytes(data)
    return path


_files: list[Any] = []

TARGETS: dict[str, Callable[[bytes], Any]] = {
    one.__name__: one
    for one in (
        config, forward, ssh_g, ssh_config, ssh_words, ssh_log, mux, ipc, netlink, dbus, far_side, init,
    )
}  # fmt: skip
