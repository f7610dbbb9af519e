from __future__ import annotations

import re
import tomllib
from pathlib import Path

from trayagent.config.commented_example import commented_example
from trayagent.config.key_descriptions import TABLES
from trayagent.config.load_file import load


def test_the_example_sets_nothing_and_explains_every_key(tmp_path: Path) -> None:
    """The commented example is valid as it is, and with every line uncommented, and explains every key."""
    text, file = commented_example(), tmp_path / "config.toml"
    file.write_text(text)
    file.chmod(0o600)
    assert tomllib.loads(text) == {}
    assert load(file).hosts == {}
    used = tomllib.loads(re.sub("^#:", "", text, flags=re.MULTILINE))
    tables = {"agent": used["agent"], "hosts.NAME": used["hosts"]["web01"], "vpns.NAME": used["vpns"]["corp"]}
    assert {title: set(table) for title, table in tables.items()} == {
        table.title: {key.name for key in table.keys} for table in TABLES
    }
    file.write_text(re.sub("^#:", "", text, flags=re.MULTILINE))
    assert list(load(file).hosts) == ["web01"]
