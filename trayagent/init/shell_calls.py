"""Find the calls of ssh and autossh in shell text, also inside wrappers (env, nohup, sudo, sh -c); pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from trayagent.init import shell_text
from trayagent.ssh.command_line import program_of

_KEYWORDS = frozenset(
    ("if", "then", "elif", "else", "while", "until", "do", "!", "{", "begin", "and", "or", "not")
)
_DECLARES = frozenset(("export", "local", "declare", "typeset", "readonly", "set"))
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_OTHER_USER = frozenset(("sudo", "doas", "su", "runuser"))
# Programs that start another program, and their options that take a value: first short options, then long ones.
_WRAPPERS = {
    "env": "uCS", "nohup": "", "exec": "a", "command": "", "setsid": "", "nice": "n", "ionice": "cnp",
    "time": "fo", "stdbuf": "ioe", "timeout": "ks", "sshpass": "pfdP", "caffeinate": "tw", "chronic": "",
    "sudo": "ugCDhpRrTtU", "doas": "uC", "screen": "SceEhpsTt", "systemd-run": "pEuHM", "flock": "wEc",
}  # fmt: skip
_LONG = {
    "env": ("unset", "chdir", "split-string"),
    "nice": ("adjustment",),
    "ionice": ("class", "classdata"),
    "stdbuf": ("input", "output", "error"),
    "timeout": ("kill-after", "signal"),
    "sudo": ("user", "group", "chdir"),
    "systemd-run": ("unit", "property", "description", "slice", "setenv", "working-directory", "nice",
                    "service-type", "uid", "gid"),
    "flock": ("wait", "timeout", "conflict-exit-code"),
}  # fmt: skip
_FIRST_WORDS = {"timeout": 1, "flock": 1}
"""How many arguments of the wrapper come before the program: a time, a lock file."""
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "ash", "fish"))
_DEEPEST = 3
"""How deep shells may be nested: `sh -c 'bash -c …'` occurs, but deeper nesting is an attack."""


class Shelled:
    """A call of ssh or autossh, with its variables, and whether it runs as another user."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], as_other: bool = False) -> None:
        self.words = list(words)
        self.env = dict(env)
        self.as_other = as_other


def calls(text: str, variables: Mapping[str, str], depth: int = 0) -> Iterator[Shelled]:
    """Yield each call. Substitute variables that the text assigns (`HOST=web01; ssh -N $HOST`).

    Raises ValueError for an unterminated quote.
    """
    known = dict(variables)
    for command in shell_text.commands(text, known):
        words = list(command)
        while words and (words[0] in _KEYWORDS or words[0] in _DECLARES):
            words.pop(0)
        given = _assignments(words)
        if not words:
            known |= given
        else:
            yield from unwrapped(words, known | given, depth)


def unwrapped(words: Sequence[str], env: Mapping[str, str], depth: int = 0) -> Iterator[Shelled]:
    """Yield the calls in the words of one command: ssh itself, or the program that a wrapper or shell starts."""
    left, known, as_other = list(words), dict(env), False
    while left:
        if program_of(left):
            yield Shelled(left, known, as_other)
            return
        name = PurePath(left[0]).name
        as_other = as_other or name in _OTHER_USER
        if name in _SHELLS or name in {"su", "runuser"}:
            script = _script(left[1:])
            if script is not None and depth < _DEEPEST:
                for call in calls(script, known, depth + 1):
                    yield Shelled(call.words, call.env, as_other or call.as_other)
            return
        if name not in _WRAPPERS:
            return
        left = _without(name, left[1:], known)


def _assignments(words: list[str]) -> dict[str, str]:
    """Remove the leading NAME=value words and return them."""
    found = {}
    while words and _ASSIGNMENT.match(words[0]):
        name, _, value = words.pop(0).partition("=")
        found[name] = value
    return found


def _script(words: Sequence[str]) -> str | None:
    """Return the text after -c, also if other options are joined with the c (`-lc`)."""
    for at, word in enumerate(words[:-1]):
        if re.fullmatch(r"-[A-Za-z]*c", word):
            return words[at + 1]
    return None


def _without(wrapper: str, words: list[str], env: dict[str, str]) -> list[str]:
    """Return the words without the wrapper's options, assignments and arguments. Add the assignments to `env`."""
    while words:
        word = words[0]
        if word == "--":
            words = words[1:]
            break
        if word.startswith("-") and len(word) > 1:
            words = _behind(wrapper, words)
        elif _ASSIGNMENT.match(word):
            env |= _assignments(words)
        else:
            break
    return words[_FIRST_WORDS.get(wrapper, 0) :]


def _behind(wrapper: str, words: list[str]) -> list[str]:
    """Return the words after the first word, which is an option, and after its value; getopt_long(3).

    The value of `env -S` is a command, so its words are returned, too.
    """
    name, glued = _option(wrapper, words[0])
    if not name:
        return words[1:]
    value, rest = (words[1:2], words[2:]) if glued is None else ([glued], words[1:])
    if wrapper == "env" and name in {"S", "split-string"}:
        return [*shlex.split("".join(value)), *rest]
    return rest


def _option(wrapper: str, word: str) -> tuple[str, str | None]:
    """Return the option in a word if it takes a value ("" otherwise), and the value if it is in the same word."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        return (name if name in _LONG.get(wrapper, ()) else ""), (value if equals else None)
    at = next((at for at, sign in enumerate(word) if sign in _WRAPPERS[wrapper]), None)
    return ("", None) if at is None else (word[at], word[at + 1 :] or None)
