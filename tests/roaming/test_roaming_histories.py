"""Thousands of histories of two ends and their links: nothing is lost, doubled or changed, and all of it arrives.

`TRAYAGENT_ROAM_HISTORIES=100000` plays that many, `TRAYAGENT_ROAM_HISTORIES=5000-9999` those seeds.
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
    """Links are cut, lose bytes and overtake each other; each program receives all that the other sent."""
    for seed in seeds:
        try:
            play(seed)
        except Exception as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}", pytrace=False)
