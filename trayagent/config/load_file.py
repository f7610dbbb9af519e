"""Read the configuration file, reject an untrusted file, and build the frozen model."""

from __future__ import annotations

import os
import re
import shlex
import stat
import tomllib
from pathlib import Path
from typing import Any

from trayagent.config import untrusted_files, value_checks
from trayagent.config.errors import ConfigError, WrongKey
from trayagent.config.model import EVENTS, Agent, Command, Config, Host, Vpn
from trayagent.config.parse_tables import read_table, read_value, require_table
from trayagent.config.unknown_keys_and_choices import did_you_mean, unknown_key
from trayagent.core.facts.forwards import Forward
from trayagent.dotted_key import dotted

LONGEST_BYTES = 1 << 20
"""A thousand times a long configuration. A larger file is no configuration."""


def load(path: Path) -> Config:
    """Return the configuration; a missing or empty file gives the defaults.

    Raises ConfigError, which names the file, the key and the valid choices.
    """
    text = read_text(path)
    return check(path, text) if text is not None else Config()


def check(path: Path, text: str) -> Config:
    """Return the configuration for this text as the content of the file. Raises ConfigError as `load` does."""
    try:
        return _build(tomllib.loads(text))
    except WrongKey as wrong:
        raise ConfigError(str(path), wrong.what, key=wrong.key, hint=wrong.hint) from wrong
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            str(path), _syntax(str(error), text), hint="Fix the line. The file is TOML."
        ) from error
    except RecursionError as error:
        raise ConfigError(str(path), "it is nested too deeply") from error
    except ValueError as error:  # a number with more digits than Python reads
        raise ConfigError(str(path), f"it is not valid TOML: {error}") from error


def read_text(path: Path) -> str | None:
    """Return the file's text, None if there is no file. Raises ConfigError if the file cannot be trusted or read."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(str(path), "it is not a file")
            _refuse_danger(path, found)
            data = file.read(LONGEST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(str(path), f"it cannot be read: {error.strerror}") from error
    if len(data) > LONGEST_BYTES:
        raise ConfigError(str(path), "it is larger than 1 MiB, too large for a configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(str(path), f"line {line} is not UTF-8", hint="Save the file as UTF-8.") from error


def _open_at_once(path: str, flags: int) -> int:
    """Open without blocking: a named pipe would block the agent forever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _refuse_danger(path: Path, found: os.stat_result) -> None:
    """Raise ConfigError if another user could have written the file: it names programs that the agent runs."""
    if why := untrusted_files.danger(found):
        raise ConfigError(str(path), f"the file {why}", hint=_remedy(path, why))
    if beside := untrusted_files.folder_danger(path):
        folder, why = beside
        raise ConfigError(str(path), f"its directory {folder} {why}", hint=_remedy(folder, why))


def _remedy(path: Path, why: str) -> str:
    quoted = shlex.quote(str(path))
    return (
        f"Remove that right: chmod go-w {quoted}"
        if "written" in why
        else f"Take ownership: chown $USER {quoted}"
    )


def _syntax(message: str, text: str) -> str:
    """Return tomllib's message with the position first; "end of document" becomes the end of the last line."""
    position = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if not position:
        return message
    lines = text.split("\n")
    line, column = position[1] or len(lines), position[2] or len(lines[-1]) + 1
    reason = message[:1].lower() + message[1 : position.start()]
    return f"line {line}, column {column}: {reason}"


def _build(raw: dict[str, Any]) -> Config:
    """Turn the parsed file into the model; raises WrongKey."""
    for name in raw:
        if name not in Config.__struct_fields__:
            raise unknown_key("", name, Config.__struct_fields__)
    vpns = {name: _vpn(name, table) for name, table in require_table(raw.get("vpns", {}), "vpns").items()}
    hosts = require_table(raw.get("hosts", {}), "hosts")
    return Config(
        agent=read_table(Agent, raw.get("agent", {}), "agent"),
        hosts={name: _host(name, table, vpns) for name, table in hosts.items()},
        vpns=vpns,
        hooks={n: _hook(n, words) for n, words in require_table(raw.get("hooks", {}), "hooks").items()},
    )


def _vpn(name: str, table: Any) -> Vpn:
    key = dotted("vpns", name)
    try:
        value_checks.label(name)
    except ValueError as error:
        raise WrongKey(key, str(error)) from error
    vpn = read_table(Vpn, table, key)
    if vpn.interface is None and vpn.networkmanager is None:
        raise WrongKey(key, "no key says how to detect it", 'Give "interface", "networkmanager" or both.')
    return vpn


def _host(name: str, table: Any, vpns: dict[str, Vpn]) -> Host:
    key = dotted("hosts", name)
    try:
        value_checks.host_name(name)
    except ValueError as error:
        raise WrongKey(key, str(error), "Use the name that you give to ssh.") from error
    host = read_table(Host, table, key)
    if host.vpn is not None and host.vpn not in vpns:
        listed = ", ".join(f'"{v}"' for v in vpns)
        existing = f"; existing tables: {listed}" if vpns else ""
        near = did_you_mean(host.vpn, vpns)
        hint = f"Add a table [{dotted('vpns', host.vpn)}]{existing}.{near}"
        raise WrongKey(f"{key}.vpn", f'there is no VPN "{host.vpn}"', hint)
    _refuse_twins(host, key)
    return host


def _refuse_twins(host: Host, key: str) -> None:
    """Raise WrongKey if two forwards of a host would listen on the same address."""
    heard: dict[tuple[bool, object], Forward] = {}
    for forward in host.forwards:
        if forward.listen.path is None and forward.listen.port == 0:
            continue  # port 0: the server chooses a port for each of these forwards
        end = (forward.kind == "remote", forward.listen)
        if end in heard:
            what = f'"{forward.spec}" listens on the same address as "{heard[end].spec}"'
            raise WrongKey(f"{key}.{forward.kind}", what, "Give one of them another port.")
        heard[end] = forward


def _hook(name: str, words: Any) -> tuple[str, ...]:
    known = [event.replace("-", "_") for event in EVENTS]
    key = dotted("hooks", name)
    if name not in known:
        raise unknown_key("hooks", name, known)
    command: tuple[str, ...] = read_value(Command, words, key)
    if why := untrusted_files.program_danger(command[0]):
        hint = "Hooks run automatically: each must be an executable file that only you or root may write."
        raise WrongKey(f"{key}[0]", f"{command[0]}: {why}", hint)
    return command
