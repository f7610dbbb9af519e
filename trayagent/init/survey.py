"""Run the whole survey: search the machine, find out which host each finding means, and propose hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct, field

from trayagent.config import value_checks
from trayagent.config.file_paths import FilePaths
from trayagent.core.policy.shared_control_path import takes_another_route
from trayagent.errors import TrayagentError
from trayagent.init import cron, launchd, processes, shell_files, systemd
from trayagent.init import survey_ssh_config as ssh_text
from trayagent.init.found_on_machine import Finding, Found, Machine, Skipped
from trayagent.init.interpret_ssh_call import Meaning, Meanings, leads_to, server_of, shares
from trayagent.init.obsolete_settings import explained
from trayagent.init.propose_hosts import SSH_CONFIG, HostProposal, Understood, propose, session_of
from trayagent.init.resolve_proposed import SshQueries
from trayagent.presentation.translation import to_translate
from trayagent.ssh.command_line import NotUnderstood, parse

_ALIASES_FOR_MASTERS = 64
"""How many aliases are queried to find the owner of a running master. The likely ones come first."""

_FORWARDING_MOST = 32
"""The most hosts to propose for their forwards in ssh_config.

If more hosts have forwards there, a forward does not mean that the user wants a constant connection.
"""

Progress = Callable[[str], None]


class Survey(Struct, frozen=True):
    """The result of the survey.

    `hosts` are the proposals. `switch_off` lists (host, where it was found, how to end it). `explained` lists settings
    that are no longer needed, with the reason. `refused` is ssh's error if ssh accepts no host at all. `others` is the
    number of aliases that are not proposed. `restarts`: what was found starts its ssh again once that ssh ends.
    """

    hosts: list[HostProposal]
    switch_off: list[tuple[str, str, str]] = field(default_factory=list)
    explained: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    refused: TrayagentError | None = None
    others: int = 0
    restarts: bool = False


async def survey(file_paths: FilePaths, machine: Machine, progress: Progress = lambda _: None) -> Survey:
    """Search the machine and propose hosts. Call `progress` with the name of each step. Changes nothing."""
    progress("ssh_config")
    text = ssh_text.read(file_paths.ssh_config_files)
    skipped = ssh_text.skipped(file_paths.ssh_config_files, machine)
    findings, masters = await asyncio.to_thread(_gather, machine, progress)
    skipped += [one for one in findings if isinstance(one, Skipped)]
    queries = SshQueries(file_paths, lambda name: progress(f"ssh -G {name}"))
    reader = _Reader(queries, Meanings(queries, text))
    for one in findings:
        if isinstance(one, Found):
            await reader.call(one)
    await reader.masters(masters, text)
    await reader.aliases(text.with_forwards)
    hosts, clashes = propose(reader.understood)
    listed_as = {name: host.name for host in hosts for name in (host.name, *host.also)}
    explanations = (e for u in reader.understood if u.call is not None for e in explained(u.found, u.call))
    return Survey(
        hosts,
        [(listed_as[u.meaning.name], u.found.where, end) for u in reader.understood if (end := _end(u))],
        list(dict.fromkeys(explanations)),
        list(dict.fromkeys([*skipped, *reader.skipped, *clashes])),
        await _refusal(queries) if reader.refused and not reader.understood else None,
        len(set(text.aliases) - {name for host in hosts for name in (host.name, *host.also)}),
        any(map(_restarts, reader.understood)) or any(one.why == processes.SSHUTTLE for one in skipped),
    )


async def _refusal(queries: SshQueries) -> TrayagentError | None:
    """Return ssh's error for localhost, or None. An error means that ssh_config is wrong, and not one of the calls."""
    try:
        await queries.resolve("localhost")
    except TrayagentError as error:
        return error
    return None


def _gather(machine: Machine, progress: Progress) -> tuple[list[Finding], list[processes.Master]]:
    """Return the findings, the most informative ones first, and the masters."""
    progress(to_translate("processes"))
    findings: list[Finding] = []
    try:
        running, masters, skipped = processes.find(machine)
        findings += skipped
    except (OSError, TrayagentError) as error:
        running, masters = [], []
        findings.append(Skipped("running processes", f"cannot be read: {error}"))
    progress(to_translate("systemd units"))
    units = list(systemd.find(machine, frozenset(r.unit for r in running if r.unit)))
    progress(to_translate("crontabs, LaunchAgents and shell files"))
    findings += [*units, *cron.find(machine), *launchd.find(machine)]
    known = {one.where for one in units if isinstance(one, Found)}
    # Skip the processes of a unit that was found: the finding about the unit has their command line.
    findings += [r.found for r in running if r.unit not in known]
    return [*findings, *shell_files.find(machine)], masters


class _Reader:
    """Finds out which host each finding means, and collects the findings that ssh refused."""

    def __init__(self, queries: SshQueries, meanings: Meanings) -> None:
        self._queries = queries
        self._meanings = meanings
        self.understood: list[Understood] = []
        self.skipped: list[Skipped] = []
        self.refused = False

    async def call(self, found: Found) -> None:
        """Find out which host a call of ssh or autossh means."""
        try:
            call = parse(found.words, found.env)
            if not call.keeps:
                return
            meaning = await self._meanings.of(call, found.folder)
        except TrayagentError as error:
            self._refuse(found.where, error)
        except ValueError as error:
            if not isinstance(error, NotUnderstood):
                self.skipped.append(Skipped(found.where, str(error)))
        else:
            self.understood.append(Understood(found, call, meaning))

    async def aliases(self, names: tuple[str, ...]) -> None:
        """Add the aliases that have their own forwards in ssh_config."""
        if len(names) > _FORWARDING_MOST:
            why = f"has forwards for {len(names)} hosts: list the hosts that should always be connected"
            self.skipped.append(Skipped("ssh_config", why))
            return
        await self._queries.all(names)  # in parallel; `_alias` then gets the remembered answers
        for name in names:
            await self._alias(Found("ssh_config", SSH_CONFIG, alias=name), name)

    async def masters(self, masters: list[processes.Master], text: ssh_text.SshText) -> None:
        """Add the aliases of the running masters. The agent also adopts masters without an alias."""
        left = list(masters)
        for master in masters:
            named = {master.origin.name, *master.origin.client_names}
            likely = [a for a in text.aliases if a in named]
            likely += [a for a in text.aliases if a in master.control_path]
            likely += text.namesakes(master.peer or "")
            if alias := await self._owner(master, list(dict.fromkeys(likely)), sure=True):
                left.remove(master)
                await self._alias(_master(master), alias)
        for master in left:
            alias = await self._owner(master, list(text.aliases), sure=True)
            alias = alias or await self._owner(master, list(text.aliases), sure=False)
            if alias is not None:
                await self._alias(_master(master), alias)

    async def _owner(self, master: processes.Master, names: list[str], *, sure: bool) -> str | None:
        """Return the first alias that has a master's control path. `sure`: a login by this alias could have made it."""
        answers = await self._queries.all(names[:_ALIASES_FOR_MASTERS])
        found = {n: a.resolved for n, a in answers.items() if a.resolved.control_path == master.control_path}
        if not sure:
            return next(iter(found), None)
        if master.origin.name in found:
            return master.origin.name
        return next((n for n, r in found.items() if not takes_another_route(r, master.origin)), None)

    async def _alias(self, found: Found, name: str) -> None:
        try:
            value_checks.host_name(name)
            answer = await self._queries.resolve(name)
        except ValueError as error:
            self.skipped.append(Skipped(f'"{name}" in ssh_config', str(error)))
        except TrayagentError as error:
            self._refuse(name, error)
        else:
            meaning = Meaning(
                name,
                given=answer.resolved.forwards,
                leads_to=leads_to(answer.lines),
                server=server_of(answer.resolved),
                shares=shares(answer.resolved),
            )
            self.understood.append(Understood(found, None, meaning))

    def _refuse(self, where: str, error: TrayagentError) -> None:
        self.refused = True
        self.skipped.append(Skipped(where, f"ssh reports: {error.title}"))


def _restarts(one: Understood) -> bool:
    """Report whether the thing that was found runs ssh again once it ends."""
    found = one.found
    is_service = found.kind in {"unit", "launchd"} or (one.call is not None and one.call.program == "autossh")
    return found.active and not found.by_hand and (found.restarts or is_service)


def _end(one: Understood) -> str:
    """Return how the user permanently ends the thing that was found, "" if that is not necessary."""
    if not one.found.active:
        return ""
    if one.found.kind != "shell":
        return one.found.switch_off
    command = "attach" if session_of(one.call) else "reconnect"
    return f"remove it there and use: trayagent {command} {one.meaning.name}"


def _master(master: processes.Master) -> Found:
    return Found("master", f"a master that runs on {master.control_path}")
