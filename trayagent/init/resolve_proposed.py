"""Run `ssh -G` for the proposed hosts, several at once, and each query only once."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import pwd
from collections.abc import Callable, Sequence

from msgspec import Struct

from trayagent.config.file_paths import FilePaths
from trayagent.core.facts.resolved import Resolved
from trayagent.errors import TrayagentError
from trayagent.ssh import resolve

_AT_ONCE = 8  # `ssh -G` takes 4 ms of a core each
_WITHIN_S = 3.0  # enough even at the start of the user's session
_PATIENCE = 2  # then stop: a Match exec that hangs would hang for every host

Lines = dict[str, frozenset[str]]


class Answer(Struct, frozen=True):
    """The output of `ssh -G` for a name: parsed, and the values of each option."""

    resolved: Resolved
    lines: Lines


class SshQueries:
    """Runs `ssh -G`, and remembers answers and errors. Calls `progress` with the name before each query."""

    def __init__(self, file_paths: FilePaths, progress: Callable[[str], None] = lambda _: None) -> None:
        self._ssh = file_paths.ssh
        self._config = file_paths.ssh_option_f
        self._progress = progress
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._answers: dict[tuple[str, ...], asyncio.Task[Answer]] = {}
        self._timeouts = 0

    async def resolve(self, name: str, options: Sequence[str] = ()) -> Answer:
        """Return the answer for a name. Raises TrayagentError with ssh's own text."""
        key = (name, *options)
        if key not in self._answers:
            self._answers[key] = asyncio.create_task(self._resolve(name, options), name=f"ssh -G {name}")
        return await self._answers[key]

    async def all(self, names: Sequence[str]) -> dict[str, Answer]:
        """Return the answers for those names that ssh accepts."""
        answers = await asyncio.gather(*(self.resolve(name) for name in names), return_exceptions=True)
        return {name: found for name, found in zip(names, answers, strict=True) if isinstance(found, Answer)}

    async def _resolve(self, name: str, options: Sequence[str]) -> Answer:
        async with self._at_once:
            if self._timeouts >= _PATIENCE:
                raise TrayagentError(
                    "ssh -G did not answer in time for other hosts either",
                    code="config-error",
                    hint="Is a Match exec in ssh_config slow?",
                )
            self._progress(name)
            try:
                text = await resolve.output(
                    name, options=options, ssh=self._ssh, config=self._config, timeout_s=_WITHIN_S
                )
            except TrayagentError as error:
                self._timeouts += "took longer" in error.title
                raise
        lines = {key: frozenset(map(_short, values)) for key, values in resolve.table(text).items()}
        if "UNKNOWN" in lines.get("compression", ()):
            lines["compression"] = frozenset(
                {"yes"}
            )  # OpenSSH 10 and later print UNKNOWN for -C, but do not accept this value
        resolved = resolve.parse(text)
        if is_address(resolved.hostname):
            lines.pop("addressfamily", None)  # -6 has no effect on an address
        return Answer(resolved, lines)


def _short(value: str) -> str:
    """Return the path with ~ for the home directory, so that both spellings compare equal. ssh ignores $HOME here."""
    try:
        home = pwd.getpwuid(os.getuid()).pw_dir.rstrip("/") + "/"
    except KeyError:
        return value
    return f"~/{value.removeprefix(home)}" if value.startswith(home) and len(home) > 1 else value


def is_address(host: str) -> bool:
    """Report whether a host is an IP address, with or without brackets or a scope."""
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
