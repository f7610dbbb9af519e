"""Reads and writes the file of records. If the file is damaged, the agent starts with the readable part.

The file begins with all records as one JSON object. Each later line is a change: a table, a key in it, and the new
value, or null if the record was removed. So each change needs only one short write, even with many hosts. The agent
rewrites the whole file when the changes outgrow the object. It also does so when it starts and ends, so that an older
version can read the file: that version does not know the lines with changes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import msgspec

from trayagent.agent.state.record_types import VERSION, Kept

log = logging.getLogger(__name__)

_BYTES_MAX = 8 << 20  # more than enough: a hundred hosts need about 200 kB
_CHANGES_MIN = 256 << 10  # do not rewrite the whole file before it has this many bytes
_NAMED_MAX = 5  # a message names at most this many damaged parts


class DamagedError(Exception):
    """No part of the file can be used. The exception's text is the reason."""


Table = Literal["masters", "draining", "attempts", "hosts", "far", "roaming", "local_sockets"]
"""The tables of `Kept`."""


class RecordFile:
    """The file of records. While its file system is full, the `spare` file is used instead."""

    def __init__(self, path: Path, spare: Path | None = None) -> None:
        self._path = path
        self._spare = spare
        # The file's inode and size after the last write, None if that write failed.
        self._file: tuple[int, int] | None = None
        self._whole_bytes = 0
        self._failing = False

    def read(self) -> Kept:
        """Return the records. The next `append` writes the whole file."""
        return read(self._path, self._spare)

    def append(self, kept: Kept, table: Table, keys: Iterable[str | int]) -> None:
        """Append the values of these keys. Rewrite the whole file if that is due, or if another program changed it."""
        lines = "".join(_line(kept, table, key) for key in keys).encode()
        if self._file is None or self._file[1] + len(lines) > max(_CHANGES_MIN, 2 * self._whole_bytes):
            self.write(kept)
            return
        try:
            self._file = _appended(self._path, self._file, lines)
        except OSError:
            self.write(kept)

    def write(self, kept: Kept) -> None:
        """Write the whole file. Log only the first of several failures."""
        self._file = None
        error = write(self._path, kept, self._spare)
        if error is None:
            with contextlib.suppress(OSError):
                found = self._path.stat()
                self._file, self._whole_bytes = (found.st_ino, found.st_size), found.st_size
        elif not self._failing:
            log.warning("%s cannot be written: %s", self._path, error.strerror)
        if self._failing and error is None:
            log.warning("%s is written again", self._path)
        self._failing = error is not None


def _line(kept: Kept, table: str, key: str | int) -> str:
    value = msgspec.to_builtins(getattr(kept, table).get(key), str_keys=True)
    return json.dumps({"table": table, "key": str(key), "value": value}) + "\n"


def _appended(path: Path, before: tuple[int, int], lines: bytes) -> tuple[int, int]:
    """Append to a file if it is unchanged since the last write.

    Return the file's new inode and size. Raise OSError, with the file unchanged, if that is impossible.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        found = os.fstat(fd)
        if (found.st_ino, found.st_size) != before:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        try:
            if os.write(fd, lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            os.ftruncate(fd, found.st_size)
            raise
    finally:
        os.close(fd)
    return found.st_ino, found.st_size + len(lines)


def read(path: Path, spare: Path | None = None) -> Kept:
    """Return the records from the file, or from the spare file if that is newer. Without a file, they are empty.

    A damaged file is renamed to NAME.bad, and its readable part is written to a new file.
    """
    if spare is not None and _written_at(spare) > _written_at(path):
        return read(spare)
    damage: list[str] = []
    try:
        kept = salvage(_parsed(path, damage), damage)
    except FileNotFoundError:
        return Kept()
    except (OSError, DamagedError) as error:
        kept = Kept()
        damage = [str(error)]
    if damage:
        _put_aside(path, damage)
        write(path, kept)
    return kept


def write(path: Path, kept: Kept, spare: Path | None = None) -> OSError | None:
    """Replace the file atomically, with mode 0600. Return the error if that failed.

    If it failed, write the spare file instead. Without records, the next agent would repeat a refused login.
    """
    try:
        _replace(path, kept)
    except OSError as error:
        if spare is not None:
            write(spare, kept)
        return error
    if spare is not None:
        spare.unlink(missing_ok=True)
    return None


def _replace(path: Path, kept: Kept) -> None:
    temporary = path.with_name(path.name + ".new")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:  # noqa: PTH123  # Path cannot open a descriptor
            # Use Python's JSON writer instead of msgspec's, because a path may have bytes that are not UTF-8. Do not
            # indent, because that takes ten times as long.
            file.write(json.dumps(msgspec.to_builtins(kept, str_keys=True)) + "\n")
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()  # it may be incomplete
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


def _parsed(path: Path, damage: list[str]) -> object:
    """Return the decoded object of a file, with all changes applied. Add each unreadable change to `damage`."""
    if not path.is_file():
        if not path.exists():
            raise FileNotFoundError(path)
        raise DamagedError("it is not a regular file")
    if path.stat().st_size > _BYTES_MAX:
        raise DamagedError("it is too large")
    try:
        text = path.read_text().lstrip()
        parsed, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"it is not valid JSON: {error}") from None
    whole: object = parsed
    if isinstance(whole, dict):
        for number, line in enumerate(text[end:].split("\n"), 1):
            if line.strip() and not _changed(whole, line):
                damage.append(f"change {number}")
    return whole


def _changed(whole: dict[str, Any], line: str) -> bool:
    """Apply the change on this line to the decoded object. Report whether the line is valid."""
    try:
        change = json.loads(line)
        table, key, value = change["table"], change["key"], change["value"]
        rows = whole.setdefault(table, {})
        rows.pop(key, None) if value is None else rows.update({key: value})
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return False
    return True


def _sound(raw: object, kind: Any, where: str, damage: list[str]) -> Any:
    """Return `raw` converted to the type `kind`, without damaged parts. Return msgspec.UNSET if nothing is left.

    `where` is the name of the part in `damage`.
    """
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
            f.name: _sound(raw[f.encode_name], f.type, f"{where}.{f.encode_name}", damage)
            for f in msgspec.structs.fields(kind)
            if f.encode_name in raw
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
    """Raise UnicodeError for text that no file name and no terminal can have, such as half a surrogate pair."""
    json.dumps(raw, ensure_ascii=False).encode(errors="surrogateescape")


def _put_aside(path: Path, damage: list[str]) -> None:
    bad = path.with_name(path.name + ".bad")
    with contextlib.suppress(OSError):
        path.replace(bad)
    named = ", ".join(damage[:_NAMED_MAX]) + (" …" if len(damage) > _NAMED_MAX else "")
    log.warning("%s was damaged (%s). The rest was kept; the damaged file is now %s", path, named, bad.name)
