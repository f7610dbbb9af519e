"""Each decision of the core has a sentence for users."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import pytest

import trayagent.core
from trayagent.cli.why_sentences import SENTENCES, sentence
from trayagent.core.policy.staleness.verdict import Do

CORE = Path(trayagent.core.__file__).parent
ROWS = range(13)

Found = tuple[int | None, str]


def texts(node: ast.expr, module: ast.Module, at: str) -> set[str]:
    """Return the possible texts of an expression: a constant, a conditional, an assigned name, or a table's values."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp():
            return texts(node.body, module, at) | texts(node.orelse, module, at)
        case ast.Attribute(value=ast.Name(id="verdict"), attr="do"):
            return set(get_args(Do))
        case ast.Subscript(value=ast.Name(id=name)) | ast.Name(id=name):
            given = [
                n.value
                for n in ast.walk(module)
                if isinstance(n, ast.Assign)
                and any(isinstance(t, ast.Name) and t.id == name for t in n.targets)
            ]
            values = [v for g in given for v in (g.values if isinstance(g, ast.Dict) else [g])]
            if values:
                return set().union(*(texts(value, module, at) for value in values))
    pytest.fail(f"{at}: write the verdict so that this test can read it")


def decided() -> Iterator[Found]:
    """Yield each row (None if it is computed) and verdict in the core's sources."""
    for path in sorted(CORE.rglob("*.py")):
        module = ast.parse(path.read_text())
        for node in ast.walk(module):
            if not isinstance(node, ast.Call):
                continue
            match node.func:
                case ast.Attribute(attr="because"):
                    row, verdict = node.args[1:3]
                case ast.Name(id="Verdict"):
                    row, verdict = node.args[:2]
                case _:
                    continue
            number = row.value if isinstance(row, ast.Constant) and isinstance(row.value, int) else None
            for text in texts(verdict, module, f"{path.name}:{node.lineno}"):
                yield number, text


def as_pairs(words: Iterable[str]) -> list[list[str]]:
    """Return evidence as the agent reports it. A key without a value gets an arbitrary value."""
    return [[key, value or "any"] for key, _, value in (word.partition("=") for word in words)]


def test_each_verdict_of_the_core_has_a_sentence_in_each_of_its_rows() -> None:
    """Each verdict has a sentence in each of its rows, even for unknown evidence. A computed row may be any row."""
    found = set(decided())
    assert len(found) > len(get_args(Do)), "the sources are read"
    missing = {
        (row, verdict)
        for number, verdict in found
        for row in (ROWS if number is None else [number])
        if sentence(row, verdict, []) is None
    }
    assert not missing


def test_no_sentence_is_left_over_or_hidden() -> None:
    """Each sentence belongs to a verdict of the core, and no earlier entry hides it."""
    assert {verdict for verdict, *_ in SENTENCES} == {verdict for _, verdict in decided()}
    for verdict, row, needed, text in SENTENCES:
        assert sentence(max(ROWS) if row is None else row, verdict, as_pairs(needed)) == text


@pytest.mark.parametrize(
    ("row", "verdict", "evidence", "said"),
    [
        (
            4,
            "control",
            "local=192.0.2.1:5 address=gone gone_ms=0",
            "its local address is gone: a new login starts",
        ),
        (
            9,
            "replace",
            "probe=silent silent_ms=200 rtt_ms=1 control=ready",
            "which stays silent and is therefore stale",
        ),
        (2, "offline", "route=none", "there is no usable route: the agent sends nothing"),
        (0, "failed", "attempt=3 kind=auth positive=True retry=never", "refused the login: no retry"),
        (
            0,
            "failed",
            "attempt=3 kind=auth positive=True retry=120.0s",
            "the login failed: the agent retries",
        ),
        (
            0,
            "connected",
            "pid=1 took_ms=900.0 no_network_ms=20000.0",
            "(no network for 20 s, then back in 900 ms)",
        ),
        (0, "connected", "pid=1 took_ms=None no_network_ms=20000.0", "(no network for 20 s)"),
        (6, "keep", "probe=answered no_network_ms=2000.0", "it is kept (no network for 2.0 s)"),
        (5, "wait", "probe=silent silent_ms=0 rtt_ms=1", "waiting for the answer"),
        (7, "wait", "probe=silent silent_ms=0 rtt_ms=1 control=running", "a new login is running"),
        (7, "wait", "probe=silent silent_ms=0 rtt_ms=1 control=bare", "the check of the server"),
        (9, "replace", "address=gone control=ready standby=7", "the standby answers and replaces"),
    ],
)
def test_the_evidence_chooses_the_sentence(row: int, verdict: str, evidence: str, said: str) -> None:
    """The sentence depends on the verdict, the row and the evidence."""
    assert said in (sentence(row, verdict, as_pairs(evidence.split())) or "")


def test_a_value_that_looks_like_evidence_chooses_no_sentence() -> None:
    """Only keys of the evidence select a sentence, not words within a value, because a network may have any name."""
    said = sentence(2, "offline", [["network", "cafe vpn=corp"]])
    assert said == "there is no usable route: the agent sends nothing"
