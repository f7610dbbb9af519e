"""Detects changed keys and certificates by content, not by modification time."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path

from trayagent.agent.event_loop import Shell
from trayagent.agent.state.resolve_when_needed import Resolver
from trayagent.core.facts.resolved import Resolved
from trayagent.core.facts.state import State
from trayagent.core.facts.user_events import KeysChanged
from trayagent.ssh.login.read_keys import key_files, read_key_file

# A rotation writes the key, the public key and the certificate one after another. Compare after the last of them.
_QUIET_S = 2.0


class Keys:
    """Keeps a digest of each host's key files, in memory only, and reports changes."""

    def __init__(self, shell: Shell, resolver: Resolver) -> None:
        self._shell = shell
        self._resolver = resolver
        self._known: dict[str, tuple[Resolved, bytes]] = {}
        self._doubtful: set[str] = set()
        self._due: asyncio.TimerHandle | None = None

    def follow(self, state: State) -> None:
        """Update the hosts and their key files from the state."""
        answers = {h.name: h.resolved for h in state.hosts.values() if h.resolved is not None}
        for name in self._known.keys() - answers.keys():
            del self._known[name]
        for name, resolved in answers.items():
            known = self._known.get(name)
            if known is not None and known[0] is resolved:
                continue
            if known is not None and key_files(known[0]) == key_files(resolved):
                self._known[name] = (resolved, known[1])
                continue
            self._known[name] = (resolved, _digest(resolved))
            # Another IdentityFile is a rotation, too, unless the user has a different IdentityFile for each network.
            if known is not None and not self._resolver.network_dependent:
                self._shell.post(KeysChanged(time.monotonic(), (name,)))

    def changed(self, path: Path) -> None:
        """Note a changed file. If it belongs to a key, compare the keys a little later."""
        names = {name for name, (resolved, _) in self._known.items() if path in key_files(resolved)}
        if not names:
            return
        self._doubtful |= names
        if self._due is not None:
            self._due.cancel()
        self._due = asyncio.get_running_loop().call_later(_QUIET_S, self._check)

    def close(self) -> None:
        """Cancel the pending comparison."""
        if self._due is not None:
            self._due.cancel()

    def _check(self) -> None:
        self._due = None
        others = []
        for name in sorted(self._doubtful):
            known = self._known.get(name)
            if known is None:
                continue
            digest = _digest(known[0])
            if digest != known[1]:
                self._known[name] = (known[0], digest)
                others.append(name)
        self._doubtful.clear()
        if others:
            self._shell.post(KeysChanged(time.monotonic(), tuple(others)))


def _digest(resolved: Resolved) -> bytes:
    whole = hashlib.sha256()
    for path in key_files(resolved):
        whole.update(hashlib.sha256(read_key_file(path)).digest())
    return whole.digest()
