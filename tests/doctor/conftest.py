"""A fixture: a fresh `Patient` for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.patient import Patient, keygen


@pytest.fixture(scope="session")
def made_keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Create a user key and a host key, once for all tests."""
    folder = tmp_path_factory.mktemp("keys")
    return keygen(folder / "user"), keygen(folder / "host")


@pytest.fixture
def patient(made_keys: tuple[Path, Path]) -> Iterator[Patient]:
    """Create a user in a directory whose name is short enough for a control path."""
    folder = Path(tempfile.mkdtemp(prefix="ta-"))
    try:
        yield Patient(folder, made_keys)
    finally:
        shutil.rmtree(folder)
