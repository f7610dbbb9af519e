"""The runtime folder, found and made safe; light, because every command of the CLI needs it at once."""
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
    """Return the folder of the IPC socket and the lock; it may not exist yet.

    In this order: TRAYAGENT_RUNTIME_DIR; XDG_RUNTIME_DIR, unless it is another user's (what
    `su` and `sudo -E` leave behind); the one that logind makes, for cron and bare ssh sessions
    that are not told of it; /tmp/trayagent-UID, short enough for control paths.
    """
    if chosen := env.get("TRAYAGENT_RUNTIME_DIR"):
        return os.path.abspath(os.path.expanduser(chosen))
    uid = os.geteuid()
    for base in (env.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        if os.path.isabs(base) and _owner(base) == uid:
            return os.path.join(base, NAME)
    return f"/tmp/{NAME}-{uid}"  # noqa: S108  # make_private() refuses it unless it is ours alone


def ipc_socket(env: Mapping[str, str]) -> str:
    """Return the path of the IPC socket."""
    return os.path.join(runtime_dir(env), SOCKET)


def make_private(path: str, *, repair: bool = False) -> None:
    """Create the folder with mode 0700, or check that the one there is this user's alone.

    With `repair`, a folder of ours (or what a link leads to) that is open to others is closed
    instead of refused.
    Raises UnsafeFolder.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except FileExistsError:
        pass  # not a folder; said below
    except OSError as error:
        raise UnsafeFolder(
            f"The folder {path} cannot be created: {error.strerror}.", hint=_ELSEWHERE
        ) from error
    found = os.stat(path) if repair and os.path.isdir(path) else os.lstat(path)
    uid, is_open = found.st_uid, bool(stat.S_IMODE(found.st_mode) & 0o077)
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeFolder(f"{path} is not a folder.", hint=f"Remove it. {_ELSEWHERE}")
    if uid != os.geteuid():
        raise UnsafeFolder(f"The folder {path} belongs to another user (uid {uid}).", hint=_ELSEWHERE)
    if is_open and repair:
        os.chmod(path, 0o700)
    elif is_open:
        import shlex

        hint = f"Close it: chmod 700 {shlex.quote(path)}"
        raise UnsafeFolder(f"The folder {path} is open to other users.", hint=hint)


_ELSEWHERE = "Set TRAYAGENT_RUNTIME_DIR or TRAYAGENT_STATE_DIR to a folder of your own."


def _owner(path: str) -> int | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_uid if stat.S_ISDIR(found.st_mode) else None
