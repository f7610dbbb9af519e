"""Find and secure the runtime directory. This module is small, because every command imports it at its start."""
# pathlib alone would add a third of a bare interpreter's start to each `trayagent status`:
# ruff: noqa: PTH100, PTH101, PTH103, PTH111, PTH112, PTH116, PTH117, PTH118

from __future__ import annotations

import os
import stat

from trayagent.config.errors import UnsafeFolder

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "trayagent"
SOCKET = "agent.sock"


def runtime_dir(env: Mapping[str, str]) -> str:
    """Return the directory of the IPC socket and the lock; it may not exist yet.

    The first that applies: TRAYAGENT_RUNTIME_DIR; XDG_RUNTIME_DIR, unless it is another user's (as after
    `su` and `sudo -E`); the directory that logind creates, for cron and bare ssh sessions without the
    variable; /tmp/trayagent-UID, which is short enough for control paths.
    """
    if chosen := env.get("TRAYAGENT_RUNTIME_DIR"):
        return os.path.abspath(os.path.expanduser(chosen))
    uid = os.geteuid()
    for base in (env.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        if os.path.isabs(base) and _owner(base) == uid:
            return os.path.join(base, NAME)
    return f"/tmp/{NAME}-{uid}"  # noqa: S108  # make_private() rejects it unless it is private


def ipc_socket(env: Mapping[str, str]) -> str:
    """Return the path of the IPC socket."""
    return os.path.join(runtime_dir(env), SOCKET)


def make_private(path: str, *, repair: bool = False) -> None:
    """Create the directory with mode 0700, or check that an existing one is private to this user.

    `repair`: if the directory (or the target of a link) is this user's but open to others, change its mode and do not
    raise. Raises UnsafeFolder.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except FileExistsError:
        pass  # not a directory; reported below
    except OSError as error:
        raise UnsafeFolder(
            f"The directory {path} cannot be created: {error.strerror}.", hint=_ELSEWHERE
        ) from error
    found = os.stat(path) if repair and os.path.isdir(path) else os.lstat(path)
    uid, is_open = found.st_uid, bool(stat.S_IMODE(found.st_mode) & 0o077)
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeFolder(f"{path} is not a directory.", hint=f"Remove it. {_ELSEWHERE}")
    if uid != os.geteuid():
        raise UnsafeFolder(f"The directory {path} belongs to another user (uid {uid}).", hint=_ELSEWHERE)
    if is_open and repair:
        os.chmod(path, 0o700)
    elif is_open:
        import shlex

        hint = f"Close it: chmod 700 {shlex.quote(path)}"
        raise UnsafeFolder(f"The directory {path} is open to other users.", hint=hint)


_ELSEWHERE = "Set TRAYAGENT_RUNTIME_DIR or TRAYAGENT_STATE_DIR to a directory of your own."


def _owner(path: str) -> int | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_uid if stat.S_ISDIR(found.st_mode) else None
