"""What `ssh -G` says of hosts and their jump hosts; asked only when something calls for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from trayagent.core.hosts import Hop
from trayagent.core.jumps import parse_jumps
from trayagent.core.resolved import Resolved
from trayagent.errors import TrayagentError
from trayagent.ssh import config_text
from trayagent.ssh.resolve import resolve

_AT_ONCE = 8  # `ssh -G` takes 4 ms of a core each
_JUMPS_MAX = 8  # a chain of jump hosts that is longer is a loop


@dataclass(frozen=True, slots=True)
class Answer:
    """What ssh says of a host, and where its first TCP connection goes (None: through a command)."""

    resolved: Resolved
    hop: Hop | None


class Resolver:
    """Asks `ssh -G`, and remembers aliases' answers until the configuration changes."""

    def __init__(self, ssh: str, config: Path | None, config_files: tuple[Path, ...]) -> None:
        self._ssh = ssh
        self._config = str(config) if config is not None else None
        self._roots = config_files
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._aliases: dict[str, Resolved | None] = {}
        self._varies: bool | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that ssh reads, Includes too."""
        return tuple(dict.fromkeys(f for root in self._roots for f in config_text.config_files(root)))

    @property
    def place_dependent(self) -> bool:
        """Whether the answers may differ from network to network."""
        return config_text.place_dependent(self._roots)

    def control_path_folders(self) -> tuple[Path, ...]:
        """Return the folders in which literal ControlPaths put their sockets."""
        found = [p for root in self._roots for p in config_text.control_paths(root)]
        folders = [Path(p).expanduser().parent for p in found if p != "none"]
        return tuple(dict.fromkeys(f for f in folders if "%" not in str(f) and "$" not in str(f)))

    def forget(self) -> None:
        """Drop all answers: the configuration changed."""
        self._aliases.clear()
        self._varies = None

    def aliases(self) -> tuple[str, ...]:
        """Return the names that stand literally in the files of ssh, in their order."""
        return tuple(dict.fromkeys(a for root in self._roots for a in config_text.aliases(root)))

    async def ask(self, name: str) -> Answer:
        """Return the answer for a host; raises TrayagentError with ssh's own words."""
        return await self._answer(await self._resolve(name))

    async def alias_of(self, control_path: str) -> tuple[str, Answer] | None:
        """Return the alias whose `ssh -G` yields this control path, the likeliest asked first."""
        aliases = self.aliases()
        likely = sorted(aliases, key=lambda a: (a not in control_path, aliases.index(a)))
        for start in range(0, len(likely), _AT_ONCE):
            batch = likely[start : start + _AT_ONCE]
            for alias, resolved in zip(batch, await asyncio.gather(*map(self._cached, batch)), strict=True):
                if resolved is not None and resolved.control_path == control_path:
                    return alias, await self._answer(resolved)
        return None

    async def _cached(self, alias: str) -> Resolved | None:
        if alias not in self._aliases:
            try:
                self._aliases[alias] = await self._resolve(alias)
            except TrayagentError:
                self._aliases[alias] = None
        return self._aliases[alias]

    async def _resolve(self, name: str) -> Resolved:
        async with self._gate:
            resolved = await resolve(name, ssh=self._ssh, config=self._config)
        if self._varies is None:
            self._varies = self.place_dependent
        # Where ssh may see a jump host that this answer does not have, ssh makes its connection itself.
        return replace(resolved, plain_connect=False) if self._varies else resolved

    async def _answer(self, resolved: Resolved) -> Answer:
        """Follow the jump hosts to the first machine that is really connected to."""
        first, hops = resolved, 0
        for _ in range(_JUMPS_MAX):
            if first.proxy_jump is None:
                break
            jumps = parse_jumps(first.proxy_jump)
            hops += len(jumps)
            first = await self._resolve(jumps[0].host)
            first = replace(first, port=jumps[0].port or first.port, user=jumps[0].user or first.user)
        hop = Hop(first.hostname, first.port) if first.proxy_command is None else None
        if hop is None:
            hops += 1
        jump = first if hops == 1 and first.plain_connect else None
        return Answer(replace(resolved, hops=hops, jump=jump), hop)
