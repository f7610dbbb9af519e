from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import msgspec

from installers.manual.make_reference import WHEN, reference
from trayagent.config.key_descriptions import TABLES
from trayagent.config.load_file import load
from trayagent.config.model import EVENTS, Config

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_each_table_and_key_of_the_model_is_described_and_no_other() -> None:
    """The descriptions cover exactly the model's tables and keys, in its order.

    Hooks are the events, in their own table.
    """
    tables = {re.sub(r"\W.*", "", table.title) for table in TABLES}
    assert tables | {"hooks"} == {field.name for field in msgspec.structs.fields(Config)}
    for table in TABLES:
        assert [key.name for key in table.keys] == list(table.struct.__struct_fields__)
    assert tuple(WHEN) == EVENTS


def test_each_word_that_a_key_takes_is_in_its_text() -> None:
    """The description of a key contains all its choices."""
    for table in TABLES:
        fields = {field.name: field for field in msgspec.structs.fields(table.struct)}
        for key in table.keys:
            for word in words_of(fields[key.name].type):
                assert f"`{word}`" in key.text, f"{table.title} {key.name}: {word}"


def words_of(kind: Any) -> list[str]:
    """Return the words that a type allows."""
    if get_origin(kind) is UnionType:
        return [word for part in get_args(kind) for word in words_of(part)]
    return [word for word in get_args(kind) if isinstance(word, str)]


def test_the_reference_is_the_one_that_would_be_made_now() -> None:
    """The page is up to date: `make reference` would write the same page."""
    assert PAGE.read_text(encoding="utf-8") == reference()


def test_the_tables_of_the_reference_are_a_configuration(tmp_path: Path) -> None:
    """All tables of the reference load together, with their defaults."""
    text = "\n".join(re.findall(r"^```toml\n(.*?)^```$", reference(), re.MULTILINE | re.DOTALL))
    (tmp_path / "remount").touch(mode=0o700)  # a hook's program must exist
    text = text.replace("~/bin", str(tmp_path))
    path = tmp_path / "config.toml"
    path.touch(mode=0o600)
    path.write_text(text)
    config = load(path)
    assert config.agent == Config().agent
    assert len(config.hosts["web01"].forwards) == 3
    assert tomllib.loads(text)["vpns"]["corp"].keys() == set(TABLES[2].struct.__struct_fields__)
