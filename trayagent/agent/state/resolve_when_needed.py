"""Resolves hosts and their jump hosts with `ssh -G`, but only when needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from trayagent.agent.event_loop import Shell
from trayagent.agent.tasks import Tasks
from trayagent.core.facts.events import HostResolved, ResolveFailed
from trayagent.core.facts.failure import Failure
from trayagent.core.facts.hosts import Hop
from trayagent.core.facts.problems import Problem
from trayagent.core.facts.resolved import Jump, Resolved
from trayagent.core.policy.admission import admission
from trayagent.errors import TrayagentError
from trayagent.ssh import ssh_config_text
from trayagent.ssh.aliases_of_control_path import may_own
from trayagent.ssh.login.known_hosts import known_keys
from trayagent.ssh.resolve import NO_LOOKUPS
from trayagent.ssh.resolve_many import SshResolver

FIRST_WITHIN_S = 60.0
"""The longest wait for a host's first answer. Each ssh needs as long with a slow `Match exec` or a busy machine."""
LATER_WITHIN_S = 2.0
"""The longest wait for a later answer. If it fails, the agent uses the earlier answer."""
_AT_ONCE = 8  # `ssh -G` runs for this many aliases at a time
_COLLECT_S = 0.3  # an answer waits this long for those of other running `ssh -G`
_JUMPS_MAX = 8  # a longer chain of jump hosts is a loop


class Answer(Struct, frozen=True):
    """What `ssh -G` prints for a host, and to which machine the first TCP connection goes.

    `hop`: that machine, None if a ProxyCommand connects. `later_hops`: the other jump hosts, in the order of the route.
    `begun_at`: when `ssh -G` started, monotonic. `varies`: the answer may differ between networks. `lookups_allowed`:
    ssh was allowed to resolve names. `known_keys`: the host keys that the known_hosts files have for the host. `named`:
    ssh_config has a block for this name.
    """

    resolved: Resolved
    hop: Hop | None
    begun_at: float
    varies: bool
    lookups_allowed: bool
    known_keys: frozenset[str] = frozenset()
    later_hops: tuple[Hop, ...] = ()
    named: bool = True

    def event(self, name: str) -> HostResolved:
        """Return the answer as an event for the core."""
        return HostResolved(
            time.monotonic(),
            name,
            self.resolved,
            self.hop,
            self.begun_at,
            self.varies,
            self.lookups_allowed,
            self.known_keys,
            self.later_hops,
            self.named,
        )


class _Text(Struct, frozen=True):
    """Facts from the text of ssh's files that hold for all answers. `canonicalizes`: CanonicalizeHostname is set."""

    varies: bool
    canonicalizes: bool
    host_patterns: tuple[tuple[str, ...], ...]


class Resolver:
    """Runs `ssh -G`, and remembers the answers for aliases until the configuration changes."""

    def __init__(self, ssh: str, config: Path | None, config_files: tuple[Path, ...]) -> None:
        self._ssh = SshResolver(ssh, str(config) if config is not None else None)
        self._roots = config_files
        self._aliases: dict[tuple[str, bool], Resolved | None] = {}
        self._took_s: dict[str, float] = {}
        self._text: _Text | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that ssh reads, including Includes."""
        return tuple(dict.fromkeys(f for root in self._roots for f in ssh_config_text.config_files(root)))

    @property
    def network_dependent(self) -> bool:
        """Whether the answers of `ssh -G` may differ between networks."""
        return ssh_config_text.network_dependent(self._roots)

    def control_path_folders(self) -> tuple[Path, ...]:
        """Return the folders of all ControlPaths in ssh's files. Leave out folders with % or $ in their names."""
        found = [p for root in self._roots for p in ssh_config_text.control_paths(root)]
        folders = [Path(p).expanduser().parent for p in found if p != "none"]
        return tuple(dict.fromkeys(f for f in folders if "%" not in str(f) and "$" not in str(f)))

    def forget(self) -> None:
        """Drop all answers because the configuration changed."""
        self._aliases.clear()
        self._took_s.clear()
        self._text = None

    def aliases(self) -> tuple[str, ...]:
        """Return the literal host names in ssh's files, in order."""
        return tuple(dict.fromkeys(a for root in self._roots for a in ssh_config_text.aliases(root)))

    async def resolve(self, name: str, *, lookups: bool = True) -> Answer:
        """Return the answer for a host. Raises TrayagentError with ssh's message.

        Without `lookups`, ssh resolves no names. If CanonicalizeHostname is set, the host name and the control path may
        then differ from those of a login.
        """
        begun_at = time.monotonic()
        resolved = await self._patiently(name, lookups)
        answer = await self._answer(resolved, begun_at, lookups)
        return replace(answer, named=ssh_config_text.is_named(self._read_text().host_patterns, name))

    async def alias_of(
        self,
        control_path: str,
        may_resolve: Callable[[str], bool] = lambda _: True,
        accepts: Callable[[str, Resolved], bool] = lambda *_: True,
        likely: Collection[str] = (),
    ) -> tuple[str, Answer] | None:
        """Return the alias for which `ssh -G` prints this control path, with its answer. None if there is none.

        Aliases in `likely` or in the path come first. Aliases whose ControlPath cannot give this path are skipped.
        `may_resolve`: whether ssh may resolve names for an alias. `accepts`: whether to accept an alias with this
        answer.
        """
        aliases = [a for a in self.aliases() if may_own(self._roots, a, control_path)]
        aliases.sort(key=lambda a: (a not in likely, a not in control_path))
        for start in range(0, len(aliases), _AT_ONCE):
            batch = [(alias, may_resolve(alias)) for alias in aliases[start : start + _AT_ONCE]]
            begun_at = time.monotonic()
            answers = await asyncio.gather(*(self._cached(*one) for one in batch))
            for (alias, lookups), resolved in zip(batch, answers, strict=True):
                if resolved is None or resolved.control_path != control_path:
                    continue
                if accepts(alias, resolved):
                    return alias, await self._answer(resolved, begun_at, lookups)
        return None

    async def _cached(self, alias: str, lookups: bool) -> Resolved | None:
        key = (alias, lookups)
        if key not in self._aliases:
            try:
                self._aliases[key] = await self._resolve(alias, lookups)
            except TrayagentError:
                self._aliases[key] = None
        return self._aliases[key]

    async def _patiently(self, name: str, lookups: bool) -> Resolved:
        """Return what `ssh -G` prints for a name. Wait longer if no earlier answer exists that could be used."""
        within_s = LATER_WITHIN_S if name in self._took_s else FIRST_WITHIN_S
        begun_at = time.monotonic()
        resolved = await self._resolve(name, lookups, within_s)
        self._took_s[name] = time.monotonic() - begun_at
        return resolved

    def slow_s(self, name: str) -> float:
        """Return how many seconds the last answer for a name took, 0 if it was quick.

        A login reads ssh_config again, and takes as long if a `Match exec` is slow.
        """
        took_s = self._took_s.get(name, 0.0)
        return took_s if took_s > LATER_WITHIN_S else 0.0

    async def _resolve(self, name: str, lookups: bool, within_s: float = LATER_WITHIN_S) -> Resolved:
        text = self._read_text()
        options = () if lookups or not text.canonicalizes else NO_LOOKUPS
        resolved = await self._ssh.resolve(name, options, within_s)
        # If the answer may differ between networks, ssh may use a jump host at the login that this answer lacks. So do
        # not pre-connect: ssh must connect itself.
        return replace(resolved, plain_connect=False) if text.varies else resolved

    def _read_text(self) -> _Text:
        if self._text is None:
            patterns = ssh_config_text.host_patterns(self._roots)
            self._text = _Text(self.network_dependent, ssh_config_text.canonicalizes(self._roots), patterns)
        return self._text

    async def _answer(self, resolved: Resolved, begun_at: float, lookups: bool) -> Answer:
        """Return the whole answer. Follow the jump hosts to find the machine to which ssh itself connects."""
        first = resolved
        chain: list[Resolved] = []
        for _ in range(_JUMPS_MAX):
            jumps = first.jumps
            if not jumps:
                break
            # In a list of jump hosts, ssh reaches the later ones through the first, whatever ProxyJump they have.
            passed = await asyncio.gather(*(self._jump_host(jump, lookups) for jump in jumps))
            chain[:0] = passed
            first = passed[0]
        found = {resolved, first, *chain}
        keys = await asyncio.to_thread(lambda: {one: known_keys(one) for one in found})
        hop = _hop(first, keys) if first.proxy_command is None else None
        later_hops = tuple(_hop(one, keys) for one in chain[0 if hop is None else 1 :])
        hops = len(chain) + (hop is None)
        jump = first if hops == 1 and first.plain_connect else None
        text = self._read_text()
        whole = replace(resolved, hops=hops, jump=jump)
        lookups_allowed = lookups or not text.canonicalizes
        return Answer(whole, hop, begun_at, text.varies, lookups_allowed, keys[resolved], later_hops)

    async def _jump_host(self, jump: Jump, lookups: bool) -> Resolved:
        found = await self._patiently(jump.host, lookups)
        return replace(found, port=jump.port or found.port, user=jump.user or found.user)


def _hop(machine: Resolved, keys: Mapping[Resolved, frozenset[str]]) -> Hop:
    return Hop(machine.hostname, machine.port, machine.user, machine.keys, keys[machine])


class HostResolver:
    """Runs `ssh -G` for hosts, at most one at a time for each host, and posts the answers.

    Answers are collected and posted together, because the core spends time on every host at each event.
    """

    def __init__(self, shell: Shell, tasks: Tasks, resolver: Resolver) -> None:
        self._shell = shell
        self._tasks = tasks
        self._resolver = resolver
        self._running = 0
        self._answers: list[HostResolved | ResolveFailed] = []
        self._due: asyncio.TimerHandle | None = None

    def resolve(self, name: str, lookups: bool) -> None:
        """Start to resolve one host and return immediately. `lookups`: ssh may resolve names."""
        if not self._tasks.running(f"resolve {name}"):
            self._tasks.start(f"resolve {name}", self._resolve(name, lookups))

    def resolve_all(self) -> None:
        """Start to resolve all hosts except unnamed masters, but also those whose alias was removed.

        ssh may resolve names only for hosts that may be connected on this network.
        """
        state = self._shell.state
        for host in state.hosts.values():
            if not host.unnamed or host.name_removed:
                self.resolve(host.name, admission(host, state).open)

    async def finished(self, names: Iterable[str], within_s: float) -> None:
        """Wait until these hosts are resolved, at most `within_s` seconds. Then post all answers so far."""
        await self._tasks.finished((f"resolve {name}" for name in names), within_s=within_s)
        self._post()

    async def _resolve(self, name: str, lookups: bool) -> None:
        self._running += 1
        try:
            answer = await self._resolver.resolve(name, lookups=lookups)
        except TrayagentError as error:
            self._answers.append(ResolveFailed(time.monotonic(), name, _unresolved(error), lookups))
        else:
            self._answers.append(answer.event(name))
        finally:
            self._running -= 1
            if not self._running:
                self._post()
            elif self._due is None:
                self._due = asyncio.get_running_loop().call_later(_COLLECT_S, self._post)

    def _post(self) -> None:
        """Post all collected answers."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        answers, self._answers = self._answers, []
        for answer in answers:
            self._shell.post(answer)


def _unresolved(error: TrayagentError) -> Failure:
    if error.code == "ssh-missing":
        return Failure(Problem("ssh-missing", error.title, error.hint), "ssh-missing")
    return Failure(Problem("config-error", error.title, error.hint), "config")
