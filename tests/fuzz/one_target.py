"""Fuzzes one target with atheris: `python -m tests.fuzz.one_target TARGET [OPTION of libFuzzer…] [DIRECTORY…]`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["trayagent"]):
    from tests.fuzz.targets import TARGETS

target = TARGETS[sys.argv.pop(1)]
atheris.Setup(sys.argv, target)
atheris.Fuzz()
