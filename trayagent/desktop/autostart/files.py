"""Small files that others read, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from trayagent.errors import TrayagentError

MARK = "Written by `trayagent install`; `trayagent uninstall` removes it."
"""A line of each file of ours: what does not have it was made by somebody else, and stays."""


def write(path: Path, content: bytes) -> bool:
    """Let the file have this content, and return whether it had another one; raises TrayagentError."""
    if read(path) == content:
        return False
    _refuse_others(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(new).chmod(0o644)
            Path(new).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(new).unlink()
            raise
    except OSError as error:
        raise _cannot("written", path, error) from error
    return True


def remove(path: Path) -> bool:
    """Let there be no such file of ours, and return whether there was one; raises TrayagentError."""
    if not is_ours(path):
        return False
    unlink(path)
    return True


def unlink(path: Path) -> None:
    """Let there be no such file or link; raises TrayagentError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot("removed", path, error) from error


def read(path: Path) -> bytes | None:
    """Return the content of a file, None where there is none that can be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def is_ours(path: Path) -> bool:
    """Report whether the file is there and was written by us."""
    return MARK.encode() in (read(path) or b"")


def _refuse_others(path: Path) -> None:
    """Raise TrayagentError where a file stands that we did not write; a masked unit is one, too."""
    if os.path.lexists(path) and not is_ours(path):
        raise TrayagentError(
            f"{path} was not written by trayagent, and is left as it is.",
            code="not-ours",
            hint="Remove or rename it, if you do not need it.",
        )


def _cannot(what: str, path: Path, error: OSError) -> TrayagentError:
    return TrayagentError(f"{path} cannot be {what}: {error.strerror or error}.", code="unwritable")
