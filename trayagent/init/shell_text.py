"""Split shell text into simple commands, as far as the search for ssh needs it; pure.

No shell runs. The parser handles quotes, comments, lists, pipes, redirections and known variables. Other variables and
command substitutions stay in the words as written, with their $. Source: POSIX.1-2017, *Shell Command Language*,
sections 2.2 and 2.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))")
_SEPARATORS = frozenset("\n;&|()")
_ENDS = _SEPARATORS | frozenset(" \t\r<>")


def commands(text: str, variables: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield the words of each simple command. The caller may add to `variables` between two commands.

    Raises ValueError for an unterminated quote or substitution.
    """
    reader = _Reader(text.replace("\\\n", ""), variables)
    while not reader.done:
        if words := reader.command():
            yield words


class _Reader:
    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text = text
        self._at = 0
        self._variables = variables

    @property
    def done(self) -> bool:
        return self._at >= len(self._text)

    def command(self) -> list[str]:
        """Return the words up to the next separator."""
        words: list[str] = []
        while not self.done:
            sign = self._text[self._at]
            if sign in "<>" or self._text.startswith("&>", self._at):
                self._redirection(words)
            elif sign in _SEPARATORS:
                self._at += 1
                break
            elif sign in " \t\r":
                self._at += 1
            elif sign == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                words += self._word()
        return words

    def _redirection(self, words: list[str]) -> None:
        """Skip the target of a redirection, and the number of the descriptor."""
        if words and words[-1].isdigit() and self._text[self._at - 1].isdigit():
            words.pop()
        while not self.done and self._text[self._at] in "<>&|":
            self._at += 1
        while not self.done and self._text[self._at] in " \t":
            self._at += 1
        if not self.done and self._text[self._at] not in _ENDS:
            self._word()

    def _word(self) -> list[str]:
        """Read one word, and return it. A variable outside quotes may split it into several words."""
        words = [self._tilde()]
        quoted = False
        while not self.done and (sign := self._text[self._at]) not in _ENDS:
            if sign == "'" or self._text.startswith("$'", self._at):
                self._at += sign == "$"
                words[-1] += self._until("'")
                quoted = True
            elif sign == '"':
                words[-1] += self._double()
                quoted = True
            elif sign == "\\":
                words[-1] += self._text[self._at + 1 : self._at + 2]
                self._at += 2
            elif sign == "$":
                value = self._dollar()
                first, *others = [value] if value.startswith("$(") else re.split(r"[ \t\n]+", value)
                words[-1] += first
                words += others
            elif sign == "`":
                words[-1] += f"`{self._until('`')}`"
            else:
                words[-1] += sign
                self._at += 1
        return [word for word in words if word or quoted]

    def _tilde(self) -> str:
        if self._text.startswith("~/", self._at) and "HOME" in self._variables:
            self._at += 1
            return self._variables["HOME"]
        return ""

    def _until(self, quote: str) -> str:
        end = self._text.find(quote, self._at + 1)
        if end < 0:
            msg = f"a {quote} is not closed"
            raise ValueError(msg)
        inside, self._at = self._text[self._at + 1 : end], end + 1
        return inside

    def _double(self) -> str:
        self._at += 1
        taken = ""
        while not self.done:
            sign = self._text[self._at]
            if sign == '"':
                self._at += 1
                return taken
            if sign == "\\" and self._text[self._at + 1 : self._at + 2] in {'"', "\\", "$", "`"}:
                taken += self._text[self._at + 1]
                self._at += 2
            elif sign == "$":
                taken += self._dollar()
            else:
                taken += sign
                self._at += 1
        msg = 'a " is not closed'
        raise ValueError(msg)

    def _dollar(self) -> str:
        if self._text.startswith("$(", self._at):
            return self._substitution()
        match = _VARIABLE.match(self._text, self._at)
        if match is None:
            taken = self._text[self._at : self._at + 2]
            self._at += 2
            return taken
        self._at = match.end()
        return self._variables.get(match[1] or match[2], match[0])

    def _substitution(self) -> str:
        depth, start = 0, self._at
        while not self.done:
            sign = self._text[self._at]
            self._at += 1
            depth += (sign == "(") - (sign == ")")
            if sign == ")" and not depth:
                return self._text[start : self._at]
        msg = "a $( is not closed"
        raise ValueError(msg)
