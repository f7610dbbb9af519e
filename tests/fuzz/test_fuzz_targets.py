"""Each target of `make fuzz` accepts its corpus, and what fuzzing once found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*/*"))
# What a target did not accept, by the target.
FOUND: list[tuple[str, bytes]] = [
    ("forward", b"\x0155\xff"),  # the message had characters that no terminal can print
    ("forward", b"\x01[ /c]:h:80"),  # a path with a leading space was written without brackets
    ("forward", b"\x01[-x/y]:h:80"),  # likewise, and would have been an option
    ("forward", b"\x01\\ a\\]/c:h:80"),
    ("netlink", bytes.fromhex("24000000180000000000000000000000") + bytes([2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0])
     + bytes.fromhex("0700010001020300")),
    ("netlink", bytes.fromhex("20000000140000000000000000000000") + bytes([2, 24, 0, 0, 2, 0, 0, 0])
     + bytes.fromhex("0700020001020300")),
    ("init", b'<?xml version="1.0" encoding="UTF-6"?><plist>ssh</plist>'),
]  # fmt: skip


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_each_file_of_the_corpus_is_accepted(path: Path) -> None:
    """A target raises nothing for a file of its corpus."""
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize(("target", "data"), FOUND)
def test_what_fuzzing_found_is_accepted(target: str, data: bytes) -> None:
    """A target raises nothing for the input that once was not accepted."""
    TARGETS[target](data)


def test_each_target_has_a_corpus() -> None:
    """Each target begins with at least one valid input, and there is no corpus without a target."""
    assert {path.parent.name for path in CORPUS} == TARGETS.keys()
