"""The host that a client names: a host of the agent, or an alias of ssh_config that uses its connection."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from trayagent.agent.event_loop import Shell
from trayagent.agent.state.resolve_when_needed import Resolver
from trayagent.core.facts.hosts import Host
from trayagent.dotted_key import dotted
from trayagent.errors import TrayagentError

_BY_CONNECTION = {"status", "watch", "why", "attached", "reconnect", "disconnect", "pause", "resume"}


class HostNames:
    """Finds the hosts that a request is about."""

    def __init__(self, shell: Shell, resolver: Resolver) -> None:
        self._shell = shell
        self._resolver = resolver

    def check(self, names: Iterable[str]) -> None:
        """Raise TrayagentError if the agent knows no host of one of these names."""
        hosts = self._shell.state.hosts
        for name in names:
            if name not in hosts:
                raise self._unknown(name)

    async def with_hosts_of_aliases(self, op: str, args: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with the hosts whose masters the named aliases use.

        A login is for the alias itself, because that alias may not have a connection yet.
        """
        if op not in _BY_CONNECTION:
            return args
        if "host" in args:
            return args | {"host": await self._with_connection_of(args["host"])}
        names = [await self._with_connection_of(name) for name in args.get("hosts", ())]
        return args | {"hosts": list(dict.fromkeys(names))}

    async def _with_connection_of(self, name: str) -> str:
        """Return the host whose master an alias of ssh_config uses: two aliases may share one Host block."""
        hosts = self._shell.state.hosts
        if name in hosts or name not in self._resolver.aliases():
            return name
        try:
            path = (await self._resolver.resolve(name)).resolved.control_path
        except TrayagentError:
            return name
        users = (h.name for h in hosts.values() if _uses(h, path))
        return next(users, name)

    def _unknown(self, name: str) -> TrayagentError:
        if name in self._resolver.aliases():
            title = f"{name} is in ssh_config, but not listed, and no master of it is up."
            table = f"[{dotted('hosts', name)}]"
            hint = f"Connect it once: trayagent login {name}. Or list it in the configuration: {table}"
            return TrayagentError(title, code="unknown-host", hint=hint)
        close = get_close_matches(name, self._shell.state.hosts, 1)
        hint = f"Did you mean {close[0]}?" if close else "`trayagent status` lists all hosts."
        return TrayagentError(f"The agent knows no host {name!r}.", code="unknown-host", hint=hint)


def _uses(host: Host, path: str | None) -> bool:
    """Report whether an ssh with this control path uses the connection of the host."""
    master, resolved = host.forwarding_master, host.resolved
    if master is None or path is None or host.draining is not None:
        return False
    return path == master.control_path or (resolved is not None and path == resolved.control_path)
