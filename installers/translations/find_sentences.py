"""Find in the sources every sentence that a user may see in another language.

There are three kinds. The clients mark theirs: `_("…")`, `ngettext("…", "…", number)` and `to_translate("…")` from
trayagent.presentation.translation. Problems, errors and findings are English in JSON and logs, so nothing marks them.
They are found by how they are made. An f-string becomes a pattern: f"{host.name} refused the login" is
"{name} refused the login". The texts of `--help` are read from the parsers.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path
from string import Formatter

from msgspec import Struct

from trayagent.cli import fast_argparse, main

ROOT = Path(__file__).parent.parent.parent / "trayagent"
WITH_PROBLEMS = (
    *("agent", "attach", "cli", "config", "core", "desktop", "doctor", "history", "init", "ipc", "ssh"),
)
"""The packages whose problems, errors and findings a user sees."""
MARKS = {"_": 1, "to_translate": 1, "ngettext": 2}
"""The functions of the module translation, and how many of their first arguments are sentences."""
CONTEXT = "agent"
"""The context (msgctxt) of problems and errors in the catalogue."""
TEXTS_OF = {
    "Problem": {1, 2},
    "TrayagentError": {0},
    "NoAgent": {0},
    "AgentSilent": {0},
    "BadRequest": {0},
    "Refused": {0},
    "UnsafeFolder": {0},
    "HistoryUnreadable": {1},
    "NotPossibleError": {1},
}
"""The calls that make a problem or an error: the positions of the arguments that are sentences."""
KEYWORDS_OF = {"Holder": {"words"}}
"""Calls with named arguments that are a part of such sentences. Of each call, `title`, `hint` and `who` are."""
NAMES = frozenset(
    {
        "title",
        "hint",
        "said",
        "follows",
        "minutes",
        "whose",
        "elsewhere",
        "reconnect",
        "note",
        "_OWN_FOLDER",
        "_ELSEWHERE",
        "_DOOMED",
        "_TITLES",
        "_WORDS",
        "_IN_TIME",
    }
)
"""The variables that hold such sentences."""
RETURNS = frozenset({"why_not_roaming", "still_refused", "_path_in_use", "_words", "notes"})
"""The functions that return such sentences."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Survey(Struct, frozen=True):
    """How a package makes its findings.

    `calls` maps functions to the positions of the arguments that are sentences. `names` are the variables that hold
    sentences, and `returns` the functions that return one, perhaps as the first item of a tuple.
    """

    calls: Mapping[str, AbstractSet[int]]
    names: AbstractSet[str]
    returns: AbstractSet[str]


SURVEYS = {
    "doctor": Survey(
        {"ok": {0, 1}, "advice": {1, 2, 3}, "problem": {1, 2, 3}, "make": {1, 2, 3}, "_shared": {1}}
        | {"_cannot": {1, 3}, "_or_turn_off": {1}, "BusUnusableError": {0}, "ConfigError": {1}},
        _words(
            "why remedy reason who where which until text buttons wanted taken way version agent_says one left"
            " install summary no_logind _MEANS"
        ),
        _words("_summary _unlock _make _or_turn_off _by_name _shorter _lasting"),
    ),
    "config": Survey(
        {"ConfigError": {1}, "WrongKey": {1, 2}, "CannotEdit": {0}, "_checked": {1}},
        _words("msg what why near existing FORM TYPE_WORDS"),
        _words("danger program_danger did_you_mean expectation _remedy _offer _in_words _syntax"),
    ),
    "core": Survey({"_bad": {0}}, _words("message"), _words("_why_not")),
    "init": Survey(
        {"Skipped": {0, 1}, "NotUnderstood": {0}, "ValueError": {0}, "Found": {1}},
        _words(
            "why msg where how named _AUTOSSH _NOTICED _KEY _HOOKS _SETTINGS _FLAGS _STARTERS _SEE_HISTORY"
            " _NO_MONITOR SSH_CONFIG SSHUTTLE"
        ),
        _words("_why _clash _end"),
    ),
}
NOTHING = Survey({}, frozenset(), frozenset())
FAILURES = "ssh/login/failure_table.py"
"""The table of ssh's failures. In its rows, the arguments 3 and 4 are sentences."""
DECISIONS = "SENTENCES"
"""The table of decisions in cli/why_sentences.py. The last item of each row is a sentence."""


class Sentence(Struct, frozen=True):
    """A sentence of the sources. `plural` is the form for other numbers than 1. `place` is its file and line."""

    text: str
    place: tuple[str, int]
    plural: str | None = None
    context: str | None = None


@cache
def sentences() -> tuple[Sentence, ...]:
    """Return all sentences, each once, in the order of the files. Raises ValueError for a marked f-string."""
    found: dict[tuple[str | None, str], Sentence] = {}
    for path in sorted(ROOT.rglob("*.py")):
        tree, name = ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT).as_posix()
        for sentence in (*_marked(tree, name), *_problems(tree, name)):
            found.setdefault((sentence.context, sentence.text), sentence)
    for sentence in _help():
        found.setdefault((None, sentence.text), sentence)
    return tuple(found.values())


def _marked(tree: ast.Module, file: str) -> Iterator[Sentence]:
    """Yield the sentences that the source marks, and those of the table of decisions."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), args=args) if name in MARKS:
                if any(isinstance(one, ast.JoinedStr) for one in args):
                    raise ValueError(f"{file}:{node.lineno}: use a pattern and format(), not an f-string")
                texts = [text for one in args[: MARKS[name]] for text in _constant(one)]
                if texts:  # otherwise, the sentence is marked where it is defined
                    yield Sentence(texts[0], (file, node.lineno), texts[1] if name == "ngettext" else None)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Tuple(elts=rows)) if name == DECISIONS:
                constants = {text for row in rows if isinstance(row, ast.Tuple) for text in _last(row, tree)}
                yield from (Sentence(text, (file, node.lineno)) for text in sorted(constants))
            case _:
                pass


def _last(row: ast.Tuple, tree: ast.Module) -> Iterator[str]:
    """Yield the text at the end of a row, which may be the name of a text."""
    match row.elts[-1]:
        case ast.Name(id=name):
            for node in tree.body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                    yield from _constant(node.value)
        case value:
            yield from _constant(value)


def _constant(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value


def _help() -> Iterator[Sentence]:
    """Yield the texts of `--help`."""
    yield from (Sentence(text, ("cli/fast_argparse.py", 0)) for text in fast_argparse.HEADINGS)
    yield from (
        Sentence(text, ("cli/fast_argparse.py", 0), context=CONTEXT) for text in fast_argparse.MISTAKES
    )
    whole = main.parser()
    yield from _texts_of(whole, "cli/main.py")
    for action in whole._actions:  # noqa: SLF001  # argparse offers no public access
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            yield from (Sentence(one.help or "", ("cli/main.py", 0)) for one in action._choices_actions)  # noqa: SLF001
            for name, parser in action.choices.items():
                yield from _texts_of(parser, f"cli/{main.MODULES[name]}.py")


def _texts_of(parser: argparse.ArgumentParser, file: str) -> Iterator[Sentence]:
    """Yield the texts of a parser. A paragraph that begins with a brace is the shape of JSON."""
    groups = [group.title for group in parser._action_groups]  # noqa: SLF001  # argparse offers no public access
    helps = [action.help for action in parser._actions]  # noqa: SLF001
    paragraphs = [part for text in (parser.description, parser.epilog) if text for part in text.split("\n")]
    for text in (*groups, *paragraphs, *helps):
        if text and not text.startswith("{"):
            yield Sentence(text, (file, 0))


def _problems(tree: ast.Module, file: str) -> Iterator[Sentence]:
    """Yield the patterns of the problems and errors."""
    if file.partition("/")[0] not in WITH_PROBLEMS:
        return
    for node in ast.walk(tree):
        for value in _values(node, file):
            for text in _patterns(value):
                if " " in text.strip() and any(map(str.isalpha, _literal(text))):
                    yield Sentence(text, (file, value.lineno), context=CONTEXT)


def _values(node: ast.AST, file: str) -> Iterator[ast.expr]:
    """Yield the expressions of a node that are problems or errors."""
    survey = SURVEYS.get(file.partition("/")[0], NOTHING)
    known = NAMES | survey.names
    match node:
        case ast.Call():
            yield from _arguments(node, file)
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in known:
            yield value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name in known:
            yield value
        case ast.AugAssign(target=ast.Name(id=name), value=value) if name in known:
            yield value
        case ast.Assign(targets=[ast.Tuple() as names], value=value):
            yield from _of_names(names, value, known)
        case ast.FunctionDef(name=name) if name in RETURNS | survey.returns:
            yield from (n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value is not None)
        case ast.FunctionDef(name="__init__", args=arguments):  # the default of an error's title
            parameters = [one.arg for one in arguments.args]
            last = parameters[len(parameters) - len(arguments.defaults) :]
            pairs = zip(last, arguments.defaults, strict=True)
            yield from (default for name, default in pairs if name in NAMES)
        case ast.keyword(arg="hint" | "title" | "who", value=value):
            yield value
        case _:
            pass


def _arguments(call: ast.Call, file: str) -> Iterator[ast.expr]:
    """Yield the arguments of a call that are problems or errors."""
    match call:
        case ast.Call(func=ast.Name(id="_row"), args=args) if file == FAILURES:
            yield from args[3:5]
        case ast.Call(func=ast.Name(id=name), args=args) if name in TEXTS_OF:
            yield from (value for number, value in enumerate(args) if number in TEXTS_OF[name])
        case ast.Call(func=ast.Name(id=name), args=args) if (
            name in SURVEYS.get(file.partition("/")[0], NOTHING).calls
        ):
            positions = SURVEYS[file.partition("/")[0]].calls[name]
            yield from (value for number, value in enumerate(args) if number in positions)
        case ast.Call(func=ast.Name(id=name), keywords=keywords) if name in KEYWORDS_OF:
            yield from (one.value for one in keywords if one.arg in KEYWORDS_OF[name])
        case ast.Call(
            func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__"), args=[one]
        ):
            yield one  # an error's own title
        case _:
            pass


def _of_names(names: ast.Tuple, value: ast.expr, known: AbstractSet[str]) -> Iterator[ast.expr]:
    """Yield the values that an assignment such as `title, hint = …` gives to the known names."""
    match value:
        case ast.IfExp(body=body, orelse=orelse):
            yield from _of_names(names, body, known)
            yield from _of_names(names, orelse, known)
        case ast.Tuple(elts=values) if len(values) == len(names.elts):
            pairs = zip(names.elts, values, strict=True)
            yield from (one for name, one in pairs if isinstance(name, ast.Name) and name.id in known)
        case _:
            pass


def _patterns(value: ast.expr) -> Iterator[str]:
    """Yield the patterns of an expression: one for each branch of a condition, and those of the parts of a text."""
    match value:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield _pattern(parts)
            yield from _patterns_of_parts(parts)
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*_patterns(body), *_patterns(orelse))
        case ast.BoolOp(values=values) | ast.Dict(values=values):
            yield from (text for one in values for text in _patterns(one))
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            yield from (a + b for a in _patterns(left) for b in _patterns(right))
        case ast.Tuple(elts=[first, *_rest]):  # the lines after the first are commands
            yield from _patterns(first)
        case ast.Name(id="_AGAIN"):
            yield "then: trayagent reconnect {host}"
        case _:
            pass


def _patterns_of_parts(parts: Sequence[ast.expr]) -> Iterator[str]:
    """Yield the patterns of the conditions inside an f-string."""
    for part in parts:
        if isinstance(part, ast.FormattedValue) and isinstance(part.value, (ast.IfExp, ast.BoolOp)):
            yield from _patterns(part.value)


def _pattern(parts: Sequence[ast.expr]) -> str:
    """Return an f-string as a pattern. Each value is named after its expression."""
    names: dict[str, str] = {}
    found = ""
    for part in parts:
        if isinstance(part, ast.Constant):
            found += str(part.value).replace("{", "{{").replace("}", "}}")
        elif isinstance(part, ast.FormattedValue):
            found += f"{{{_name(part.value, names)}}}"
    return found


def _name(value: ast.expr, names: dict[str, str]) -> str:
    """Return the name of a value. Equal expressions have the same name, different ones have different names."""
    code = ast.unparse(value)
    if code not in names:
        nodes = (n for n in ast.walk(value) if isinstance(n, (ast.Attribute, ast.Name)))
        first = next(nodes, None)
        plain = "value" if first is None else first.attr if isinstance(first, ast.Attribute) else first.id
        plain = plain.lower().strip("_")
        names[code] = plain if plain not in names.values() else f"{plain}{len(names)}"
    return names[code]


def _literal(pattern: str) -> str:
    """Return the text of a pattern without its values."""
    return "".join(text for text, *_rest in Formatter().parse(pattern))
