"""Read names, addresses, forwards and faults from the text of ssh_config, before any `ssh -G`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from trayagent.init.found_on_machine import Machine, Skipped
from trayagent.ssh import ssh_config_text

_FORWARDS = frozenset(("localforward", "remoteforward", "dynamicforward"))
_CANDIDATES = 16
"""The most aliases of a server to query. A user rarely has more names for one server."""


class SshText(Struct, frozen=True):
    """The aliases in their order, the HostName of each as written, and the aliases with their own forwards."""

    aliases: tuple[str, ...]
    hostnames: dict[str, str]
    with_forwards: tuple[str, ...]

    def namesakes(self, *addresses: str) -> list[str]:
        """Return the aliases whose name or HostName is one of these."""
        wanted = {address.lower() for address in addresses if address}
        found = [
            a for a in self.aliases if a.lower() in wanted or self.hostnames.get(a, "").lower() in wanted
        ]
        return found[:_CANDIDATES]


def read(roots: Iterable[Path]) -> SshText:
    """Read the files that ssh reads, including their Includes."""
    aliases: dict[str, None] = {}
    hostnames: dict[str, str] = {}
    forwarding: dict[str, None] = {}
    for block in (block for root in roots for block in ssh_config_text.blocks(root)):
        names = [name for name in block.names if name not in ssh_config_text.THIS_MACHINE]
        if block.keyword == "host":
            aliases |= dict.fromkeys(names)
        address = next((words[0] for key, words in block.options if key == "hostname" and words), None)
        for name in names:
            if address is not None:
                hostnames.setdefault(name, address.replace("%h", name))
        if any(key in _FORWARDS for key, _ in block.options):
            forwarding |= dict.fromkeys(names)
    return SshText(tuple(aliases), hostnames, tuple(name for name in forwarding if name in aliases))


def skipped(roots: Iterable[Path], machine: Machine) -> list[Skipped]:
    """Return the files that were not read, or not completely."""
    found = []
    for root in roots:
        files = ssh_config_text.config_files(root)
        found += [Skipped(machine.shown(file), why) for file in files if (why := _why(file)) is not None]
        if len(files) >= ssh_config_text.MAX_FILES:
            found.append(
                Skipped(machine.shown(root), f"includes more than {ssh_config_text.MAX_FILES} files")
            )
    return found


def _why(file: Path) -> str | None:
    try:
        if not file.exists():
            return None  # ssh skips a missing Include, too
        if not file.is_file():
            return "is not a file"
        with file.open("rb") as opened:
            data = opened.read(ssh_config_text.MAX_FILE + 1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if b"\0" in data:
        return "is not text"
    if len(data) > ssh_config_text.MAX_FILE:
        return "is larger than 1 MiB; the rest is ignored"
    return None
