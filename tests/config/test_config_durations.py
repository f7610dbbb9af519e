from __future__ import annotations

import pytest

from trayagent.config import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200), ("90d", 7776000), ("0s", 0)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    """The result is in seconds."""
    assert parse_duration.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "10",
        "10 m",
        "1.5h",
        "-1s",
        "+1s",
        "1w",
        "10M",
        "\u0661\u0660s",
        "²s",
        "1h30m",
        "3651d",
        "9" * 5000 + "s",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Other notations that Python accepts as numbers are rejected, and so are more than ten years."""
    with pytest.raises(ValueError, match=r"duration|ten years"):
        parse_duration.parse(text)
