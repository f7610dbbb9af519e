"""The example of a test in CONTRIBUTING.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from trayagent.sandbox import Agent, Lab

PAGE = Path(__file__).parents[3] / "CONTRIBUTING.md"


def test_the_example_for_those_who_write_tests_is_one(lab: Lab, agent: Agent) -> None:
    """The example in CONTRIBUTING.md runs exactly as printed, including its imports."""
    [example] = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102  # the code comes from our own page
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    test(lab, agent)
