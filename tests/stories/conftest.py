"""A story for each test."""

from __future__ import annotations

import pytest

from tests.stories.teller import Story


@pytest.fixture
def story() -> Story:
    """Return a story that has not begun."""
    return Story()
