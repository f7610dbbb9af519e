"""Proves that a far relay is gone. "No such relay" proves it only if that login would have seen a living one.

A later login may land in a container with the same machine-id, or have another home directory. Some containers also
have a boot ID of their own (systemd-nspawn).
"""

from __future__ import annotations

import posixpath
from typing import Literal

from trayagent.agent.roaming import far_relay_commands as far
from trayagent.agent.roaming.far_relay_commands import FarAnswer
from trayagent.agent.state.record_types import KeptRoaming

NO_NAMESPACES = "none"
"""What the far relay reports on a system without namespaces."""
_ID_MAX = 100

_PATH_MAX = 4096

Gone = Literal["far-relay-lost", "server-rebooted"]
PROVEN = frozenset({"far-relay-lost", "server-rebooted"})
"""The values of `Gone`."""
Unproven = Literal["unsafe-folder", "far-relay-unseen", "far-relay-unreachable", "far-relay-found"]


def note_view(kept: KeptRoaming, served: FarAnswer) -> None:
    """Note in the record in which namespaces the far relay started, and in which directory its socket is."""
    kept.far_pid_ns, kept.far_net_ns, kept.far_folder_id = (
        str(served.words.get(key, ""))[:_ID_MAX] for key in ("pid_ns", "net_ns", "folder")
    )
    kept.far_folder = posixpath.dirname(str(served.words.get("path", "")))[:_PATH_MAX]


def rebooted(kept: KeptRoaming, machine: str, boot: str, pid_ns: str) -> bool:
    """Report whether a login with these identifiers proves that the server rebooted since the far relay started.

    Another boot ID is no proof in another PID namespace, because a container may have its own. The first PID namespace
    has the same identifier after each boot. If the far relay started in another one, no proof is possible.
    """
    same_view = (machine, pid_ns) == (kept.machine, kept.far_pid_ns) and pid_ns != ""
    return same_view and bool(boot and kept.far_boot) and boot != kept.far_boot


async def check(control_path: str, kept: KeptRoaming) -> Gone | Unproven:
    """Return how a far relay on the same machine is proven gone, or why that is not proven.

    Raise FarError, or MuxError if the master does not answer.
    """
    return judge(kept, await far.look(control_path, kept.token[:16]))


def judge(kept: KeptRoaming, answer: FarAnswer) -> Gone | Unproven:
    """Return how the answer of `look` proves that the far relay is gone, or why it does not prove that.

    On Linux, the proof is that the network namespace of the far relay no longer lists its socket. On other systems, it
    is that the directory of the socket is the same one, and the socket is not there. A reboot is a proof, too.
    """
    words, folders = answer.words, answer.words.get("folders")
    namespaces = str(words.get("pid_ns", "")), str(words.get("net_ns", ""))
    if rebooted(kept, answer.machine, answer.boot, namespaces[0]):
        return "server-rebooted"
    if (answer.machine, answer.boot) != (kept.machine, kept.far_boot) or not isinstance(folders, dict):
        return "far-relay-unseen"
    if "" in namespaces or namespaces != (kept.far_pid_ns, kept.far_net_ns) or kept.far_folder not in folders:
        return "far-relay-unseen"
    if words.get("socket") is not False:
        return "far-relay-found"
    if namespaces[0] == NO_NAMESPACES:
        gone, seen = folders[kept.far_folder] == kept.far_folder_id != "", False
    else:
        gone, seen = words.get("listed") is False, words.get("listed") is True
    if gone:
        return "far-relay-lost"
    unsafe = words.get("unsafe")
    if isinstance(unsafe, list) and kept.far_folder in unsafe:
        return "unsafe-folder"
    return "far-relay-unreachable" if seen else "far-relay-unseen"
