"""Write forwards into the configuration file atomically."""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path

from trayagent.config.add_forwards_to_text import Added, CannotEdit, with_forwards
from trayagent.config.errors import ConfigError
from trayagent.config.load_file import check, read_text
from trayagent.core.facts.forward_spec import parse
from trayagent.dotted_key import dotted

_NEW_FILE = 0o600


def keep_forwards(path: Path, host: str, added: Added) -> bool:
    """Add forwards to a host's table, and report whether the file changed. A missing file is created.

    Raises ConfigError if the file is invalid, cannot be written, or has a form that cannot be changed.
    """
    for kind, specs in added.items():
        for spec in specs:
            try:
                parse(kind, spec)
            except ValueError as error:
                raise ConfigError(str(path), f"it was not changed: {error}") from error
    text = read_text(path) or ""
    check(path, text)
    try:
        new = with_forwards(text, host, added)
    except (CannotEdit, tomllib.TOMLDecodeError) as error:
        lines = "; ".join(f"{kind} = {[*specs]}" for kind, specs in added.items())
        hint = f"Add it yourself, under [{dotted('hosts', host)}]: {lines}"
        raise ConfigError(str(path), f"it was not changed: {error}", hint=hint) from error
    if new == text:
        return False
    check(path, new)
    try:
        _replace(Path(os.path.realpath(path)), new)  # keep a link, such as one into a directory of dotfiles
    except OSError as error:
        raise ConfigError(str(path), f"it cannot be written: {error.strerror}") from error
    return True


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(path.stat().st_mode & 0o7777 if path.exists() else _NEW_FILE)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
