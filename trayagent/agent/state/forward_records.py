"""Forwards as the records write them: "kind spec"."""

from __future__ import annotations

from typing import cast, get_args

from trayagent.core.facts.forward_spec import parse
from trayagent.core.facts.forwards import Forward, ForwardKind


def written(forward: Forward) -> str:
    """Return the text of a forward for a record: "kind spec"."""
    return f"{forward.kind} {forward.spec}"


def read_forward(line: str) -> Forward | None:
    """Return a recorded forward, None if the line is invalid."""
    kind, _, spec = line.partition(" ")
    if kind not in get_args(ForwardKind):
        return None
    try:
        return parse(cast("ForwardKind", kind), spec)
    except ValueError:
        return None
