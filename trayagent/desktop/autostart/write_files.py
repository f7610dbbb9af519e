"""Writes small files for other programs, each completely or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from trayagent.errors import TrayagentError

MARK = "Written by `trayagent install`; `trayagent uninstall` removes it."
"""A line in each file that trayagent writes. The agent never changes or removes a file without this line."""


def write(path: Path, content: bytes) -> bool:
    """Write the content into the file, and return whether the file changed. Raises TrayagentError."""
    if read(path) == content:
        return False
    _refuse_foreign_file(path)
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
        raise TrayagentError(
            f"{path} cannot be written: {error.strerror or error}.", code="unwritable"
        ) from error
    return True


def rewrite(path: Path, content: bytes | None) -> bool:
    """Write the content into a file that trayagent wrote before. Return whether the file changed.

    None stands for no content. Raises TrayagentError.
    """
    return content is not None and is_ours(path) and write(path, content)


def remove(path: Path) -> bool:
    """Remove the file if trayagent wrote it. Return whether the file was removed. Raises TrayagentError."""
    if not is_ours(path):
        return False
    unlink(path)
    return True


def unlink(path: Path) -> None:
    """Remove a file or link if it exists. Raises TrayagentError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise TrayagentError(
            f"{path} cannot be removed: {error.strerror or error}.", code="unwritable"
        ) from error


def read(path: Path) -> bytes | None:
    """Return the content of a file, or None if the file cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def value(path: Path, key: str) -> str | None:
    """Return the text after `key=` in a file that trayagent wrote, or None."""
    text = (read(path) or b"").decode(errors="replace") if is_ours(path) else ""
    return next(
        (line.removeprefix(f"{key}=") for line in text.splitlines() if line.startswith(f"{key}=")), None
    )


def is_ours(path: Path) -> bool:
    """Report whether the file exists and was written by trayagent."""
    return MARK.encode() in (read(path) or b"")


def _refuse_foreign_file(path: Path) -> None:
    """Raise TrayagentError if there is a file that trayagent did not write, for example a masked unit."""
    if os.path.lexists(path) and not is_ours(path):
        raise TrayagentError(
            f"{path} was not written by trayagent, and is left as it is.",
            code="not-ours",
            hint="Remove or rename it, if you do not need it.",
        )
