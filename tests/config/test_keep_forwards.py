"""Forwards are added to the configuration without touching the rest of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.config.add_forwards_to_text import CannotEdit, with_forwards
from trayagent.config.errors import ConfigError
from trayagent.config.keep_forwards import keep_forwards

SPEC = "9001:localhost:80"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[hosts.web]\nconnect = "on-use"\nlocal = ["9001:localhost:80"]\n'),
        ("[agent]", '[agent]\n\n[hosts.web]\nconnect = "on-use"\nlocal = ["9001:localhost:80"]\n'),
        (
            "[hosts.web]  # mine\n\n# the next\n[hosts.db]\n",
            '[hosts.web]  # mine\nlocal = ["9001:localhost:80"]\n\n# the next\n[hosts.db]\n',
        ),
        ('[hosts."web"]\nvpn = "corp"', '[hosts."web"]\nvpn = "corp"\nlocal = ["9001:localhost:80"]\n'),
        ("[hosts.web]\nlocal = []\n", '[hosts.web]\nlocal = ["9001:localhost:80"]\n'),
        (
            '[hosts.web]\nlocal = ["1:[::1]:2"] # a ] b\n',
            '[hosts.web]\nlocal = ["1:[::1]:2", "9001:localhost:80"] # a ] b\n',
        ),
        ('[hosts.web]\nlocal = ["1:a:2",]\n', '[hosts.web]\nlocal = ["1:a:2", "9001:localhost:80",]\n'),
        (
            '[hosts.web]\nlocal = [\n  "1:a:2"  # one, ]\n]\nreap = false\n',
            '[hosts.web]\nlocal = [\n  "1:a:2",  # one, ]\n  "9001:localhost:80",\n]\nreap = false\n',
        ),
        (
            "[hosts.web]\nlocal = [\n  # none yet\n]\n",
            '[hosts.web]\nlocal = [\n    "9001:localhost:80",\n  # none yet\n]\n',
        ),
        ('[hosts.web]\nlocal = ["9001:localhost:80"]\n', '[hosts.web]\nlocal = ["9001:localhost:80"]\n'),
    ],
)
def test_the_rest_of_the_text_stays(before: str, after: str) -> None:
    """Comments, order and layout of the rest of the text stay unchanged."""
    assert with_forwards(before, "web", {"local": [SPEC]}) == after


@pytest.mark.parametrize(
    "text", ["hosts.web.reap = false\n", "[hosts]\nweb = { reap = false }\n", "[hosts]\nweb.reap = false\n"]
)
def test_an_unusual_form_is_left_alone(text: str) -> None:
    """If the text has an unusual form that cannot be changed safely, an error is raised."""
    with pytest.raises(CannotEdit):
        with_forwards(text, "web", {"local": [SPEC]})


@given(
    st.lists(st.sampled_from(["1:a:2", "[::1]:3:b:4", "/a#b:c:5"]), unique=True), st.booleans(), st.booleans()
)
def test_any_layout_of_an_array_is_kept_valid(have: list[str], lines: bool, comma: bool) -> None:
    """In any layout of an array, the result is valid, with the earlier forwards and then the new ones."""
    joint = ",\n  # x ]\n  " if lines else ", "
    array = joint.join(f'"{spec}"' for spec in have) + ("," if comma and have else "")
    text = f"[hosts.web]\nlocal = [{array}]\n"
    new = with_forwards(text, "web", {"local": [SPEC], "dynamic": ["1080"]})
    assert tomllib.loads(new)["hosts"]["web"] == {"local": [*have, SPEC], "dynamic": ["1080"]}


def test_the_file_is_replaced_through_its_link(tmp_path: Path) -> None:
    """If the path is a link, its target is replaced, with the same mode, and the link stays."""
    real, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
    real.write_text("# mine\r\n[hosts.web]\r\n")
    real.chmod(0o640)
    link.symlink_to(real)
    assert keep_forwards(link, "web", {"local": [SPEC]})
    assert not keep_forwards(link, "web", {"local": [SPEC]})
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert real.read_text().startswith("# mine\n[hosts.web]\n")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["config.toml", "dotfiles.toml"]


@pytest.mark.parametrize(
    ("text", "spec", "words"),
    [
        ("", "nonsense", "is not a forward|has no target"),
        ('[hosts.web]\nlocal = ["9001:db:5432"]\n', SPEC, "listens on the same address"),
        ("[hosts.web]\nlocel = []\n", SPEC, "locel"),
        ("[hosts]\nweb = {}\n", SPEC, "Add it yourself|unusual"),
    ],
)
def test_what_would_not_load_is_not_written(tmp_path: Path, text: str, spec: str, words: str) -> None:
    """An invalid forward, a port that is taken, or an invalid file changes nothing."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        keep_forwards(path, "web", {"local": [spec]})
    assert path.read_text() == text
