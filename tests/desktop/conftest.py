"""A fixture: a private desktop for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.desktop.desk import Desk
from tests.desktop.desk import desk as make_desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Make an empty desktop: no display, no bus."""
    with make_desk() as made:
        yield made
