"""Plays thousands of histories of two ends and their links: no byte is lost, duplicated or changed.

`TRAYAGENT_ROAM_HISTORIES=100000` plays that many histories, `TRAYAGENT_ROAM_HISTORIES=5000-9999` plays these seeds.
With `-rP`, pytest prints how many moves the histories had.
"""

from __future__ import annotations

import os

import pytest

from tests.roaming.model import play

_AT_A_TIME = 100
_BRIEF = "800"


def _asked() -> list[range]:
    first, _, last = os.environ.get("TRAYAGENT_ROAM_HISTORIES", _BRIEF).rpartition("-")
    seeds = range(int(first), int(last) + 1) if first else range(int(last))
    return [seeds[at : at + _AT_A_TIME] for at in range(0, len(seeds), _AT_A_TIME)]


@pytest.mark.parametrize("seeds", _asked(), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_every_byte_arrives_once_and_in_order(seeds: range) -> None:
    """Each program receives all bytes that the other sent, with links that are cut, lose bytes and overtake others."""
    moves = 0
    for seed in seeds:
        try:
            moves += play(seed)
        except Exception as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}", pytrace=False)
    print(f"{moves} moves")  # noqa: T201  # for a reader of `-rP`
