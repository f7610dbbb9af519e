"""Write the configuration file in one step, and never over an existing file."""

from __future__ import annotations

import errno
import os
import shlex
import tempfile
from pathlib import Path

from trayagent.config.load_file import load
from trayagent.config.untrusted_files import folder_danger
from trayagent.errors import TrayagentError


def refuse_existing(path: Path) -> None:
    """Raise TrayagentError (config-exists) if the file exists, even as a broken link."""
    if os.path.lexists(path):
        raise TrayagentError(
            f"{path} exists already; it is not changed.",
            code="config-exists",
            hint="See what would be proposed: trayagent init --print. For a new one, rename the old one first.",
        )


def write(path: Path, text: str) -> None:
    """Check that the text is valid, then write the file (mode 0600; a new directory gets 0700).

    Raises TrayagentError: config-exists, or the reason why the file cannot be written or the text is invalid.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if beside := folder_danger(path):
            folder, why = beside
            raise TrayagentError(
                f"The directory {folder} {why}: a configuration in it would be rejected.",
                code="config-error",
                hint=f"Remove that right: chmod go-w {shlex.quote(str(folder))}",
            )
        _write(path, text)
    except OSError as error:
        raise TrayagentError(
            f"{path} cannot be written: {error.strerror}.",
            code="config-error",
            hint="Choose another path: trayagent --config FILE init",
        ) from error


def _write(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        load(fresh)
        _name(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _name(fresh: Path, path: Path) -> None:
    """Give the file its final name, unless that name exists by now."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        refuse_existing(path)
        raise
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}:
            raise
        refuse_existing(path)  # the file system has no hard links
        fresh.replace(path)
