"""Reads and writes the file of records. The agent starts with whatever can be read of it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import msgspec

from trayagent.agent.state.record_types import VERSION, Kept

log = logging.getLogger(__name__)

_BYTES_MAX = 8 << 20  # a hundred hosts need about 200 kB
_NAMED_MAX = 5  # a message names at most this many damaged parts


class DamagedError(Exception):
    """No part of the file can be used; the text is the reason."""


def read(path: Path, spare: Path | None = None) -> Kept:
    """Return the records, empty if there is no file; those of the spare file if it is newer.

    A damaged file is renamed to NAME.bad. The readable part is kept and written again.
    """
    if spare is not None and _written_at(spare) > _written_at(path):
        return read(spare)
    damage: list[str] = []
    try:
        kept = salvage(_parsed(path), damage)
    except FileNotFoundError:
        return Kept()
    except (OSError, DamagedError) as error:
        kept = Kept()
        damage = [str(error)]
    if damage:
        _put_aside(path, damage)
        write(path, kept)
    return kept


def write(path: Path, kept: Kept, spare: Path | None = None) -> None:
    """Replace the file atomically, with mode 0600.

    If its file system is full, replace the spare file instead: without records, the next agent would repeat a
    refused login.
    """
    try:
        _replace(path, kept)
    except OSError as error:
        log.warning("%s cannot be written: %s", path, error)
        if spare is not None:
            write(spare, kept)
    else:
        if spare is not None:
            spare.unlink(missing_ok=True)


def _replace(path: Path, kept: Kept) -> None:
    temporary = path.with_name(path.name + ".new")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:  # noqa: PTH123  # a descriptor has no Path
            # Python's writer, because a path may hold bytes that are not UTF-8.
            json.dump(msgspec.to_builtins(kept, str_keys=True), file, indent=1)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()  # remove what was written so far
        raise


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def salvage(raw: object, damage: list[str]) -> Kept:
    """Return the valid parts of decoded JSON, and add the name of each damaged part to `damage`.

    Raises DamagedError for another version, or if `raw` is not an object.
    """
    if not isinstance(raw, dict):
        raise DamagedError("it is not a JSON object")
    if raw.get("version") != VERSION:
        raise DamagedError(f"its version is {raw.get('version')!r}, not {VERSION}")
    kept = _sound(raw, Kept, "", damage)
    return kept if isinstance(kept, Kept) else Kept()


def _parsed(path: Path) -> object:
    if not path.is_file():
        if not path.exists():
            raise FileNotFoundError(path)
        raise DamagedError("it is not a regular file")
    if path.stat().st_size > _BYTES_MAX:
        raise DamagedError("it is too large")
    try:
        parsed: object = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"it is not valid JSON: {error}") from None
    return parsed


def _sound(raw: object, kind: Any, where: str, damage: list[str]) -> Any:
    """Return `raw` as a `kind` without its damaged parts, or msgspec.UNSET if nothing is left."""
    with contextlib.suppress(msgspec.ValidationError, UnicodeError):
        found = msgspec.convert(raw, kind, str_keys=True, strict=not isinstance(raw, str))
        _encodable(raw)
        return found
    if get_origin(kind) is UnionType:
        kind = next((one for one in get_args(kind) if _is_struct(one)), kind)
    if isinstance(raw, list) and get_origin(kind) is list:
        items = [_sound(one, get_args(kind)[0], f"{where}.{n}", damage) for n, one in enumerate(raw)]
        return [item for item in items if item is not msgspec.UNSET]
    if isinstance(raw, dict) and get_origin(kind) is dict:
        return _sound_table(raw, kind, where, damage)
    if isinstance(raw, dict) and _is_struct(kind):
        fields = {
            f.name: _sound(raw[f.name], f.type, f"{where}.{f.name}", damage)
            for f in msgspec.structs.fields(kind)
            if f.name in raw
        }
        with contextlib.suppress(TypeError):  # a field without a default is missing
            return kind(**{name: value for name, value in fields.items() if value is not msgspec.UNSET})
    damage.append(where.removeprefix("."))
    return msgspec.UNSET


def _sound_table(raw: dict[str, Any], table: Any, where: str, damage: list[str]) -> dict[Any, Any]:
    key_kind, kind = get_args(table)
    found = {}
    for name, value in raw.items():
        row = _sound(value, kind, f"{where}.{name}", damage)
        key = _sound(name, key_kind, f"{where}.{name}", damage)
        if row is not msgspec.UNSET and key is not msgspec.UNSET:
            found[key] = row
    return found


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _encodable(raw: object) -> None:
    """Raise UnicodeError for text that neither a file name nor a terminal can hold: half of a surrogate pair."""
    json.dumps(raw, ensure_ascii=False).encode(errors="surrogateescape")


def _put_aside(path: Path, damage: list[str]) -> None:
    bad = path.with_name(path.name + ".bad")
    with contextlib.suppress(OSError):
        path.replace(bad)
    named = ", ".join(damage[:_NAMED_MAX]) + (" …" if len(damage) > _NAMED_MAX else "")
    log.warning("%s was damaged (%s). The rest was kept; the damaged file is now %s", path, named, bad.name)
