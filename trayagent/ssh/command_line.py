"""Parse the command line of ssh and autossh; pure.

Sources: ssh(1), ssh.c (main), autossh(1), autossh.c (main). This module only separates the words. To learn what they
mean, the agent runs `ssh -G` with them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from msgspec import Struct, field

from trayagent.core.facts.forward_spec import parse as parse_forward
from trayagent.core.facts.forwards import Forward, ForwardKind

_WITH_VALUE = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
_FORWARDS: Mapping[str, ForwardKind] = {"L": "local", "R": "remote", "D": "dynamic"}
_FORWARD_SETTINGS: Mapping[str, ForwardKind] = {
    "localforward": "local",
    "remoteforward": "remote",
    "dynamicforward": "dynamic",
}
# The options that decide where the connection goes and what it may do. All others concern only the ssh process itself.
_CARRIED = frozenset("46AaCgKkXxYyBbcDFIiJLlmoPpRw")
_QUERY_OPTIONS = frozenset("GOQVW")
"""With these options ssh keeps no connection: it prints something, commands a master, or relays for another ssh."""
_OPTION = re.compile(r"\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)?(.*)", re.DOTALL)

PROGRAMS = ("autossh", "ssh")


class NotUnderstood(ValueError):  # noqa: N818  # users see the text, never the name
    """The words are not a call that keeps a connection. The text gives the reason, as in "it names no host"."""


class Call(Struct, frozen=True):
    """One call of ssh or autossh.

    `destination` is the argument as given; `host` and `user` are its parts. `carried` are the words of the options that
    `ssh -G` needs, in their order. `forwards` are the arguments of -L, -R and -D. `settings` are the -o options in
    lower case; the first value wins, as in ssh. `flags` are the option letters. `monitor` is the value of autossh's own
    -M. `command` is the remote command.
    """

    program: str
    destination: str
    host: str
    user: str | None
    carried: tuple[str, ...] = ()
    forwards: tuple[tuple[ForwardKind, str], ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    monitor: str | None = None
    command: tuple[str, ...] = ()

    @property
    def keeps(self) -> bool:
        """Whether the call exists to keep a connection: autossh, ssh without a session, or `ssh -f` with forwards."""
        bare = "N" in self.flags or self.settings.get("sessiontype", "").lower() == "none"
        return self.program == "autossh" or bare or ("f" in self.flags and bool(self.forwards))


def program_of(words: Sequence[str]) -> str | None:
    """Return "ssh" or "autossh" if the first word calls that program, by its name or any path; otherwise None."""
    name = PurePath(words[0]).name if words else ""
    return name if name in PROGRAMS else None


def parse(words: Sequence[str], env: Mapping[str, str] | None = None) -> Call:
    """Return the parsed command line, whose first word is the program. Raise NotUnderstood.

    `env` supplies AUTOSSH_PORT, which overrides -M.
    """
    program = program_of(words)
    if program is None:
        raise NotUnderstood("it is neither ssh nor autossh")
    reader = _Reader(program, list(words[1:]))
    reader.read()
    if reader.destination is None:
        raise NotUnderstood("it names no host")
    if query := next((f"-{flag}" for flag in sorted(reader.flags & _QUERY_OPTIONS)), None):
        raise NotUnderstood(f"{query} keeps nothing connected")
    user, host = _parts(reader.destination)
    if not host or reader.destination.startswith("-"):
        raise NotUnderstood(f'"{reader.destination}" is not a host')
    return Call(
        program,
        reader.destination,
        host,
        user,
        tuple(reader.carried),
        tuple(reader.forwards),
        reader.settings,
        frozenset(reader.flags),
        (env or {}).get("AUTOSSH_PORT") or reader.monitor,
        tuple(reader.command),
    )


def has_session(words: Sequence[str]) -> bool:
    """Report whether an ssh with this command line has a session of its own.

    A master in the background has none: its title is not a command line.
    """
    try:
        return not parse(words).keeps
    except NotUnderstood:
        return False


def forwards_of(words: Sequence[str]) -> tuple[Forward, ...]:
    """Return the forwards that the command line of a running ssh requests. Its program may have any name.

    Skip each argument that ssh would reject, or that contains variables of ssh's environment.
    """
    reader = _read(words)
    if reader is None:
        return ()
    cleared = reader.settings.get("clearallforwardings", "").lower() == "yes"
    if cleared or (reader.mux_command or "forward") != "forward":
        return ()
    found: list[Forward] = []
    for kind, text in (*reader.forwards, *reader.forward_settings):
        with contextlib.suppress(ValueError):
            found.append(parse_forward(kind, text))
    return tuple(dict.fromkeys(found))


def host_of(words: Sequence[str]) -> str | None:
    """Return the host that the command line of a running ssh names, None if there is none. Its program has any name."""
    reader = _read(words)
    return _parts(reader.destination)[1] or None if reader is not None and reader.destination else None


def server_names_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return what the command line of a running ssh calls its server, the most exact name first.

    These are the destination as given, its host, and the value of a HostName option.
    """
    reader = _read(words)
    if reader is None or not reader.destination:
        return ()
    found = (reader.destination, _parts(reader.destination)[1], reader.settings.get("hostname", ""))
    return tuple(dict.fromkeys(name for name in found if name))


def jump_host_of(words: Sequence[str]) -> str | None:
    """Return the host of an `ssh -W`, with which ssh passes a jump host. Return None for another command line."""
    reader = _read(words)
    return host_of(words) if reader is not None and "W" in reader.flags else None


def _read(words: Sequence[str]) -> _Reader | None:
    reader = _Reader("ssh", list(words[1:]))
    try:
        reader.read()
    except NotUnderstood:
        return None
    return reader


class _Reader:
    """Reads options as ssh does with getopt(3): several flags in a word, attached values, options after the host."""

    def __init__(self, program: str, words: list[str]) -> None:
        self._rest = words
        self._with_value = _WITH_VALUE | ({"M"} if program == "autossh" else frozenset())
        self.destination: str | None = None
        self.carried: list[str] = []
        self.forwards: list[tuple[ForwardKind, str]] = []
        self.settings: dict[str, str] = {}
        self.flags: set[str] = set()
        self.monitor: str | None = None
        self.mux_command: str | None = None
        self.forward_settings: list[tuple[ForwardKind, str]] = []
        self.command: list[str] = []

    def read(self) -> None:
        """Read all words."""
        while self._rest:
            word = self._rest.pop(0)
            if word == "--":
                if self.destination is None and self._rest:
                    self.destination = self._rest.pop(0)
                self._end()
            elif word.startswith("-") and word != "-":
                self._cluster(word[1:])
            elif self.destination is None:
                self.destination = word
            else:
                self._rest.insert(0, word)
                self._end()

    def _end(self) -> None:
        self.command, self._rest = self._rest, []

    def _cluster(self, letters: str) -> None:
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in self._with_value:
                self._flag(letter)
                continue
            if not letters and not self._rest:
                raise NotUnderstood(f"-{letter} lacks its value")
            self._value(letter, letters or self._rest.pop(0))
            return

    def _flag(self, letter: str) -> None:
        self.flags.add(letter)
        if letter in _CARRIED:
            self.carried.append(f"-{letter}")

    def _value(self, letter: str, value: str) -> None:
        if letter == "M":
            self.monitor = value
            return
        self.flags.add(letter)
        if letter in _FORWARDS:
            self.forwards.append((_FORWARDS[letter], value))
        if letter == "O":
            self.mux_command = value
        if letter == "o":
            self._setting(value)
        if letter in _CARRIED:
            self.carried += [f"-{letter}", value]

    def _setting(self, text: str) -> None:
        match = _OPTION.fullmatch(text)
        if match is None:
            raise NotUnderstood(f"-o {text} is not an option")
        key, value = match[1].lower(), match[2].strip().strip('"')
        self.settings.setdefault(key, value)
        if key in _FORWARD_SETTINGS:
            self.forward_settings.append((_FORWARD_SETTINGS[key], ":".join(value.split())))


def _parts(destination: str) -> tuple[str | None, str]:
    """Return user and host of [user@]host or ssh://[user@]host[:port]."""
    is_uri = destination.startswith("ssh://")
    text = destination.removeprefix("ssh://").rstrip("/") if is_uri else destination
    user, at, host = text.rpartition("@")
    if is_uri:
        host = host[1 : host.index("]")] if host.startswith("[") and "]" in host else host.partition(":")[0]
    return (user.partition(";")[0] or None) if at else None, host
