"""A VPN seen by its interface's name; pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

from trayagent.core.network import Interface, Snapshot


def up_interface(snapshot: Snapshot, glob: str) -> Interface | None:
    """Return the interface that matches and is up, or None.

    Of several, one that bears an address comes first (a tunnel is up a moment before it is usable),
    then the youngest, which has the highest index.
    """
    found = [i for i in snapshot.interfaces if i.up and fnmatchcase(i.name, glob)]
    return max(found, key=lambda i: (bool(i.addresses), i.index), default=None)
