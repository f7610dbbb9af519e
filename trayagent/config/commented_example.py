"""A first configuration to edit: every key, commented out, with its meaning and its default or an example."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from trayagent.config.key_descriptions import TABLES, Table

_WIDTH = 100
_HEAD = """\
# The configuration of trayagent. The agent reads it again when it changes. Every key is optional.
# A host is a name that you give to ssh; address, user, key and jump hosts stay in ~/.ssh/config.
# To use a line that begins with "#:", remove these two characters, also from its [table].
"""
_NAMES = {"hosts.NAME": "hosts.web01", "vpns.NAME": "vpns.corp"}


def commented_example() -> str:
    """Return the text of a valid configuration without any setting."""
    return "\n".join([_HEAD, *(line for table in TABLES for line in _table(table))])


def _table(table: Table) -> Iterator[str]:
    yield from _comment(table.text)
    yield f"#:[{_NAMES.get(table.title, table.title)}]"
    for key in table.keys:
        yield from _comment(key.text)
        yield f"#:{key.name} = {table.shown(key)}"
    yield ""


def _comment(text: str) -> Iterator[str]:
    quoted = text.replace('`"', '"').replace('"`', '"').replace("`", "'")
    return (f"# {line}" for line in textwrap.wrap(quoted, _WIDTH))
