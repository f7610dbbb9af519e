"""A fixture: messages recorded from a real kernel (6.18) in a namespace with documentation addresses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def golden() -> dict[str, bytes]:
    """Return the body of each recorded message, by name."""
    text = (Path(__file__).parent / "golden.json").read_text()
    return {name: bytes.fromhex(body) for name, body in json.loads(text).items()}
