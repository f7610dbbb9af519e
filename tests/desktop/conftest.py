"""A private desktop for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.desktop.desk import Desk
from tests.desktop.desk import desk as make_desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Make a desktop with nothing on it yet: no display, no bus."""
    with make_desk() as made:
        yield made
