"""Check whether other users could have written a file, as ssh checks its own configuration."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path


def danger(found: os.stat_result) -> str | None:
    """Return why a file or directory with this status cannot be trusted, or None.

    As in ssh, its owner must be this user or root, and no other user may have write permission. A directory with the
    sticky bit is trusted: others may add files there, but not replace the user's files.
    """
    if found.st_uid not in {0, os.geteuid()}:
        return f"belongs to another user (uid {found.st_uid})"
    sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if others_may_write(found) and not sticky:
        return "can be written by other users"
    return None


def others_may_write(found: os.stat_result) -> bool:
    """Report whether other users than the owner have write permission.

    The group's permission does not count if the group is the owner's private group. In Debian 13, Fedora and Ubuntu a
    user's own files belong to this group, and by default the group may write them. Debian's ssh accepts them, too.
    """
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_private_group(found.st_gid, found.st_uid)


def _is_private_group(group: int, owner: int) -> bool:
    """Report whether this is the owner's primary group, has the owner's name, and has no other member."""
    try:
        user, members = pwd.getpwuid(owner), grp.getgrgid(group)
    except KeyError:
        return False
    named_alike = members.gr_name == user.pw_name
    return user.pw_gid == group and named_alike and set(members.gr_mem) <= {user.pw_name}


def folder_danger(file: Path) -> tuple[Path, str] | None:
    """Return the file's directory and the reason if that directory cannot be trusted, otherwise None.

    If the file is a link, check the directories of the link and of its target.

    Raises OSError if a directory cannot be read.
    """
    for folder in dict.fromkeys((file.parent, file.resolve().parent)):
        if why := danger(folder.stat()):
            return folder, why
    return None


def program_danger(text: str) -> str | None:
    """Return why this program may not run automatically, or None if it may.

    Its path must be absolute, and it must be an executable file that no other user can change.
    """
    path = Path(text).expanduser()
    if not path.is_absolute():
        return "must be an absolute path, or begin with ~/"
    try:
        found = path.stat()
        beside = folder_danger(path)
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    if not stat.S_ISREG(found.st_mode) or not os.access(path, os.X_OK):
        return "is not an executable file"
    if why := danger(found):
        return why
    return f"is in {beside[0]}, which {beside[1]}" if beside else None
