"""Recognize the agent's English sentences by the patterns of a catalogue, and translate them.

The agent reports sentences whose values are filled in: "web01 refused the login". The catalogue has the pattern
"{who} refused the login". A value may be a sentence itself. Imported only for a language other than English.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from gettext import GNUTranslations
from string import Formatter

CONTEXT = "agent"
"""The context (msgctxt) of these sentences in the catalogue."""
_QUOTED = re.compile(r'"[^"]*"')  # a name in a key of the configuration may have spaces: hosts."my host"
_DEPTH = 4
"""How often a value may be a sentence with values."""


class Pattern:
    """A pattern with named values. Two values with one name are equal."""

    def __init__(self, text: str) -> None:
        self.text = text
        parts = [*Formatter().parse(text)]
        self._literals = [literal for literal, *_ in parts]
        self._names = [name for _, name, *_ in parts if name is not None]
        self.weight = sum(map(len, self._literals))
        """How much of the pattern is literal. The pattern with the most literal text fits best."""

    def values(self, sentence: str) -> dict[str, str] | None:
        """Return the values with which the pattern gives this sentence, or None."""
        # Most patterns fail here. Compiling a regular expression takes 100 times longer.
        if not sentence.startswith(self._literals[0]) or not all(part in sentence for part in self._literals):
            return None
        found = self._expression.fullmatch(sentence)
        return found.groupdict() if found is not None else None

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        named: set[str] = set()
        expression = ""
        parts = [*Formatter().parse(self.text)]
        for (literal, name, *_), after in zip(parts, [*parts[1:], None], strict=True):
            expression += re.escape(literal)
            if name is not None:
                # Of two values without a text between them, the first has no space.
                value = r"\S*" if after is not None and not after[0] else ".*?"
                expression += f"(?P={name})" if name in named else f"(?P<{name}>{value})"
                named.add(name)
        return re.compile(expression, re.DOTALL)


class AgentSentences:
    """The agent's sentences in one language."""

    def __init__(self, catalogue: GNUTranslations) -> None:
        self._catalogue = catalogue
        prefix = f"{CONTEXT}\x04"
        # The standard library has no public way to list the sentences of a catalogue.
        known = [
            key for key in vars(catalogue)["_catalog"] if isinstance(key, str) and key.startswith(prefix)
        ]
        patterns = [Pattern(key.removeprefix(prefix)) for key in known if "{" in key]
        self._patterns = sorted(patterns, key=lambda pattern: -pattern.weight)
        # The menu shows the same sentences at each change.
        self.translate = lru_cache(maxsize=512)(self._translate)

    def _translate(self, sentence: str, depth: int = _DEPTH) -> str:
        """Return the sentence in the catalogue's language, unchanged if no pattern fits."""
        whole = self._catalogue.pgettext(CONTEXT, sentence)
        if whole != sentence or not depth:
            return whole
        file, separator, rest = sentence.partition(": ")
        if separator and file.startswith("/") and " " not in file:  # an error of a file
            return f"{file}{separator}{self._translate(rest, depth - 1)}"
        for pattern in self._patterns:
            values = pattern.values(sentence)
            if values is not None:
                translated = self._catalogue.pgettext(CONTEXT, pattern.text)
                return translated.format_map(
                    {name: self._value(text, depth) for name, text in values.items()}
                )
        return self._by_parts(sentence, depth)

    def _by_parts(self, text: str, depth: int) -> str:
        """Return a text with each known part translated: several sentences, or a sentence after a host's name."""
        first, separator, rest = text.partition(". ")
        if separator:
            # The period belongs to the pattern of some sentences.
            whole = self._translate(f"{first}.", depth - 1).removesuffix(".")
            head = whole if whole != first else self._translate(first, depth - 1)
            return f"{head}{separator}{self._translate(rest, depth - 1)}"
        name, separator, rest = text.partition(": ")
        if separator and " " not in _QUOTED.sub("", name):
            return f"{name}{separator}{self._translate(rest, depth - 1)}"
        return text

    def _value(self, text: str, depth: int) -> str:
        """Return a value, translated if it is a sentence. A value at the beginning of a sentence is capitalized."""
        if " " not in text:
            return text
        translated = self._translate(text, depth - 1)
        if translated == text and text[:1].isupper():
            small = text[:1].lower() + text[1:]
            other = self._translate(small, depth - 1)
            return other[:1].upper() + other[1:] if other != small else text
        return translated
