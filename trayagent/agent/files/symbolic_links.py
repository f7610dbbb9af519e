"""Follows the symbolic links of a path, as `stow` and `chezmoi` make them for files in a directory of dotfiles."""

from __future__ import annotations

import os
from pathlib import Path

_MOST = 40  # as in the kernel, see path_resolution(7)


def names_of(path: Path) -> tuple[Path, ...]:
    """Return each file or link whose change may change what is read at an absolute path. The last one is the file.

    These are the file and the user's own links on the way to it, of the file itself and of its folders. Their folders
    contain no links.
    """
    found: list[Path] = []
    here, rest, links = Path(path.anchor), list(path.parts[1:]), 0
    while rest:
        part = rest.pop(0)
        if part == "..":
            here = here.parent
            continue
        name = here / part
        target = _target(name) if links < _MOST else None
        if target is None:
            here = name
            continue
        links += 1
        if _is_own(name):  # the links of the system, such as /var/run, do not change
            found.append(name)
        here, rest = (Path(target.anchor) if target.is_absolute() else here), [*_parts(target), *rest]
    return *found, here


def in_real_folder(path: Path) -> Path:
    """Return the path with the links of its folder resolved, but not a link at the path itself."""
    return Path(os.path.realpath(path.parent)) / path.name


def _parts(target: Path) -> tuple[str, ...]:
    return target.parts[1:] if target.is_absolute() else target.parts


def _is_own(link: Path) -> bool:
    try:
        return link.lstat().st_uid == os.getuid()
    except OSError:
        return True


def _target(name: Path) -> Path | None:
    try:
        return name.readlink()
    except OSError:
        return None
