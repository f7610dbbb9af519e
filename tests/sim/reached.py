"""A map of the parts of the core that histories reached: rows, pairs of rows, guards, events and actions.

The list of parts comes from the core's source, so a new part counts as not reached.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import trayagent.core
from trayagent.core.decide import HANDLERS
from trayagent.core.decision_context import Why
from trayagent.core.facts import actions as a
from trayagent.core.facts.events import Event
from trayagent.core.policy.staleness.verdict import Do

if TYPE_CHECKING:
    from tests.sim.world import World

_CORE = Path(trayagent.core.__file__).parent
_ROWS = range(1, 13)
# these verdicts change nothing, so the log has no reason for them
_NO_REASON: tuple[Do, ...] = ("keep", "observe")
# The simulation does not log these actions, because nearly every event causes them.
_NEVER_LOGGED = {"action SetTimer", "action Publish", "action Remember"}

Reached = Counter[str]
"""How often each part was reached. A part is a kind and a name, such as `row 9 replace`."""


def reached_by(world: World) -> Reached:
    """Return the parts that a history reached, from its log."""
    found: Reached = Counter(f"guard {guard}" for guard in world.rules.waits.guards)
    last: dict[str, int] = {}
    for _, what in world.log:
        match what:
            case Why(name, row, verdict) if row:
                found[f"row {row} {verdict}"] += 1
                if name in last and last[name] != row:
                    found[f"pair {last[name]} {row}"] += 1
                last[name] = row
            case Event():
                found[f"event {type(what).__name__}"] += 1
            case a.Action():
                found[f"action {type(what).__name__}"] += 1
    return found


def parts() -> frozenset[str]:
    """Return all parts of the core, except pairs of rows, because some pairs are impossible."""
    calls = [call for path in _CORE.rglob("*.py") for call in _calls(path)]
    rows = {f"row {row} {verdict}" for call in calls for row, verdict in _rows(call)}
    guards = {f"guard {word}" for call in calls for word in _guards(call)}
    events = {f"event {kind.__name__}" for kind in HANDLERS}
    actions = {f"action {kind.__name__}" for kind in a.Action.__subclasses__()}
    return frozenset(rows | guards | events | actions) - _NEVER_LOGGED


def _calls(path: Path) -> Iterator[tuple[str, list[ast.expr]]]:
    """Yield the names and the arguments of the calls in a source file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, node.args


def _rows(call: tuple[str, list[ast.expr]]) -> Iterator[tuple[int, str]]:
    """Yield the rows and verdicts in a call, if both are literals in the source."""
    match call:
        case "Verdict", [ast.Constant(value=int(row)), do, *_]:
            yield from ((row, word) for word in _words(do) if word in set(get_args(Do)) - set(_NO_REASON))
        case "because", [_, ast.Constant(value=int(row)), verdict, *_] if row:
            yield from ((row, word) for word in _words(verdict))


def _guards(call: tuple[str, list[ast.expr]]) -> Iterator[str]:
    """Yield the reasons for which a call delays a login."""
    match call:
        case "Admission", [_, code, *_]:
            yield from _words(code)
        case "Wait", [why, *_]:
            yield from _words(why)


def _words(node: ast.expr) -> Iterator[str]:
    """Yield the texts of an expression: of a conditional expression, both."""
    return (x.value for x in ast.walk(node) if isinstance(x, ast.Constant) and isinstance(x.value, str))


def as_map(reached: Reached) -> str:
    """Return the map as text: how often each part was reached, a table of the pairs, and the parts not reached."""
    lines = []
    for kind in ("row", "guard", "event", "action"):
        names = sorted((name for name in reached if name.startswith(f"{kind} ")), key=_order)
        lines += [f"{name:32} {reached[name]:>12,}" for name in names]
    lines += ["", "Pairs: the row of a host's decision (left), and of the next one (above)."]
    lines.append("    " + "".join(f"{row:>10}" for row in _ROWS))
    for first in _ROWS:
        counts = (reached[f"pair {first} {then}"] for then in _ROWS)
        lines.append(f"{first:>4}" + "".join(f"{count or '.':>10}" for count in counts))
    missing = sorted(parts() - reached.keys(), key=_order)
    lines += ["", f"Not reached: {', '.join(missing) or 'nothing'}."]
    return "\n".join(lines)


def _order(name: str) -> tuple[str, int, str]:
    kind, _, rest = name.partition(" ")
    row = rest.split()[0]
    return kind, int(row) if row.isdigit() else 0, rest
