"""Bring each catalogue up to date with the sources, and compile it: `make translations`.

A new sentence gets an empty translation, and a sentence that left the sources leaves the catalogue. The compiled
catalogue (.mo) is in the repository, so that an installation needs no tool for it. A new language needs only a
directory with an empty .po file.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from installers.translations.find_sentences import ROOT, sentences

LOCALE = ROOT / "locale"
EVER = datetime(2026, 1, 1, tzinfo=UTC)
"""The date in the header, so that the same sources give the same files."""
WIDTH = 120


def main() -> int:
    """Update and compile all catalogues. Return 1 if a translation is missing."""
    missing = 0
    for path in catalogues():
        updated = update(path)
        path.write_bytes(as_po(updated))
        path.with_suffix(".mo").write_bytes(as_mo(updated))
        empty = [message for message in updated if message.id and not all(_strings(message.string))]
        missing += len(empty)
        counted = f"{len(updated)} sentences, {len(empty)} without a translation"
        sys.stdout.write(f"{path.relative_to(ROOT.parent)}: {counted}\n")
    return 1 if missing else 0


def catalogues() -> list[Path]:
    """Return the .po files of all languages."""
    return sorted(LOCALE.glob("*/LC_MESSAGES/trayagent.po"))


def update(path: Path) -> Catalog:
    """Return the catalogue of a .po file, with exactly the sentences of the sources."""
    locale = path.parent.parent.name
    with path.open("rb") as file:
        old = read_po(file, locale=locale)
    new = Catalog(locale=locale, project="trayagent", version="catalogue", charset="utf-8", fuzzy=False)
    new.creation_date = new.revision_date = EVER
    new.header_comment = f"# Translation of trayagent: {locale}. See CONTRIBUTING.md, Translations."
    new.last_translator = new.language_team = "trayagent"
    new.msgid_bugs_address = "see CONTRIBUTING.md"
    for sentence in sentences():
        key = sentence.text if sentence.plural is None else (sentence.text, sentence.plural)
        known = old.get(key, context=sentence.context)
        same = known is not None and known.pluralizable == (sentence.plural is not None)
        flags = ["python-brace-format"] if "{" in sentence.text else []
        new.add(
            key,
            known.string if known is not None and same else None,
            locations=[sentence.place],
            context=sentence.context,
            flags=flags,
        )
    return new


def as_po(catalogue: Catalog) -> bytes:
    """Return a catalogue as text."""
    file = BytesIO()
    write_po(file, catalogue, width=WIDTH, include_lineno=False, sort_by_file=True)
    return file.getvalue()


def as_mo(catalogue: Catalog) -> bytes:
    """Return a compiled catalogue."""
    file = BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def _strings(string: str | tuple[str, ...] | list[str] | None) -> list[str]:
    return [string or ""] if isinstance(string, str) or string is None else [*string]


if __name__ == "__main__":
    sys.exit(main())
