"""Translate what users read. The catalogue is loaded at the first sentence, and only for a language other than English.

The language comes from LANGUAGE, LC_ALL, LC_MESSAGES and LANG, as in gettext(3). JSON, logs, codes and names of events
stay English. CONTRIBUTING.md, *Translations*, says how to add a sentence or a language.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from gettext import GNUTranslations
    from typing import Any

    from trayagent.presentation.agent_sentences import AgentSentences

DOMAIN = "trayagent"
LOCALES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "locale")  # noqa: PTH118, PTH120  # pathlib is slow to import
_ENGLISH = frozenset({"", "C", "POSIX", "en"})


def _(text: str) -> str:
    """Return a sentence or pattern in the user's language."""
    catalogue = _catalogue()
    if catalogue is None or not text:  # the translation of "" is the catalogue's header
        return text
    return catalogue.gettext(text)


def ngettext(one: str, many: str, number: int) -> str:
    """Return the form for this number in the user's language. `one` is for 1 in English."""
    catalogue = _catalogue()
    if catalogue is None:
        return one if number == 1 else many
    return catalogue.ngettext(one, many, number)


def to_translate(text: str) -> str:
    """Return the text unchanged. It marks a sentence that `_` translates where it is shown, such as one in a table."""
    return text


def agent_text(text: str) -> str:
    """Return a sentence of the agent in the user's language, unchanged if it is not known.

    The agent reports whole English sentences. The catalogue has their patterns.
    """
    sentences = _agent_sentences()
    return text if sentences is None or not text else sentences.translate(text)


def translated_view(view: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the view (`status --json`) with the agent's sentences in the user's language. Names and codes stay."""
    if _catalogue() is None:
        return view
    agent = dict(view["agent"])
    if agent.get("config_error"):
        agent["config_error"] = agent_text(agent["config_error"])
    hosts = [_host(host) for host in view["hosts"]]
    vpns = [{**vpn, "problem": _problem(vpn["problem"])} for vpn in view["vpns"]]
    return {**view, "agent": agent, "hosts": hosts, "vpns": vpns}


def language() -> str:
    """Return the tag of the language in use, for HTML: "en" if there is no catalogue for the user's language."""
    return (_chosen(os.environ) or "en").replace("_", "-")


def number(text: str) -> str:
    """Return a formatted number with the user's decimal separator."""
    # Translators: the decimal separator.
    return text.replace(".", _("."))


@cache
def _catalogue() -> GNUTranslations | None:
    tag = _chosen(os.environ)
    if tag is None:
        return None
    from gettext import GNUTranslations

    with open(_file(tag), "rb") as file:  # noqa: PTH123  # pathlib is slow to import
        return GNUTranslations(file)


@cache
def _agent_sentences() -> AgentSentences | None:
    catalogue = _catalogue()
    if catalogue is None:
        return None
    from trayagent.presentation.agent_sentences import AgentSentences

    return AgentSentences(catalogue)


def _chosen(environment: Mapping[str, str]) -> str | None:
    """Return the first wanted language with a catalogue, or None for English. Source: gettext(3)."""
    locale = next(filter(None, map(environment.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "C")
    if _plain(locale) in {"C", "POSIX"}:
        return None
    for wanted in (*(environment.get("LANGUAGE") or "").split(":"), locale):
        tag = _plain(wanted)
        for candidate in (tag, tag.partition("_")[0]):
            if candidate in _ENGLISH:
                if tag:
                    return None
            elif os.path.exists(_file(candidate)):  # noqa: PTH110  # pathlib is slow to import
                return candidate
    return None


def _plain(locale: str) -> str:
    """Return "de_AT" for "de_AT.UTF-8@euro"."""
    tag = locale.partition("@")[0].partition(".")[0]
    return tag if tag.replace("_", "").isalnum() else ""


def _file(tag: str) -> str:
    return f"{LOCALES}/{tag}/LC_MESSAGES/{DOMAIN}.mo"


def _host(host: Mapping[str, Any]) -> dict[str, Any]:
    changed = {**host, "problem": _problem(host["problem"])}
    changed["forwards"] = [{**f, "error": _error(f["error"])} for f in host["forwards"]]
    if host.get("no_roaming"):
        changed["no_roaming"] = agent_text(host["no_roaming"])
    return changed


def _problem(problem: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not problem:
        return problem
    return {**problem, "title": agent_text(problem["title"]), "hint": agent_text(problem["hint"])}


def _error(error: Any) -> Any:
    """Return the error of a forward, which may be a problem or a string."""
    if isinstance(error, str):
        return agent_text(error)
    return _problem(error)
