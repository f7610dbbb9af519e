"""Translations: the catalogues are complete and fit their sentences, and the language is the user's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from babel.messages.catalog import Catalog, Message

from installers.translations.find_sentences import CONTEXT, ROOT, sentences
from installers.translations.update_catalogues import as_mo, as_po, catalogues, update
from tests.desktop.test_menu import forward, host, problem, view
from trayagent.presentation import summary, translation
from trayagent.presentation.agent_sentences import AgentSentences
from trayagent.presentation.host_state import state_words
from trayagent.presentation.times import now
from trayagent.presentation.translation import agent_text, language, translated_view

LANGUAGES = [path.parent.parent.name for path in catalogues()]
NO_SENTENCE = re.compile(
    r"</?[a-z]+[ >]"  # HTML
    r"|^(trayagent|sudo|systemctl|launchctl|dbus-run-session|time|chmod) "  # commands
    r"|^    [A-Z]\w+ [a-z-]+$|^\w+ yes$"  # lines of ssh_config
    r"|^\n| 2>/dev/null|\(\?P<"  # scripts, regular expressions
)
"""Texts that are not translated. The comments of a new configuration are English, like its keys."""


@pytest.fixture(scope="module", params=catalogues(), ids=LANGUAGES)
def catalogue(request: pytest.FixtureRequest) -> tuple[Path, Catalog]:
    """Return the file of a catalogue, and the catalogue as the sources need it."""
    return request.param, update(request.param)


@pytest.fixture
def german(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the user be German."""
    monkeypatch.setenv("LC_ALL", "de_AT.UTF-8")
    _forget()
    yield
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    translation._catalogue.cache_clear()
    translation._agent_sentences.cache_clear()


def fields(pattern: str) -> set[str]:
    return {name for _, name, *_ in Formatter().parse(pattern) if name is not None}


def pairs(catalogue: Catalog) -> Iterator[tuple[Message, str, str]]:
    """Yield each message with each pair of an English form and its translation."""
    for message in catalogue:
        if message.id:
            english = [message.id] if isinstance(message.id, str) else [*message.id]
            given = [message.string] if isinstance(message.string, str) else [*(message.string or ())]
            for number, form in enumerate(given):
                yield message, english[min(number, len(english) - 1)], form


def test_no_sentence_is_missing_from_a_catalogue(catalogue: tuple[Path, Catalog]) -> None:
    """Each sentence of the sources is in the catalogue, and no other. If this fails, run `make translations`."""
    path, needed = catalogue
    assert path.read_text(encoding="utf-8") == as_po(needed).decode()


def test_each_sentence_is_translated(catalogue: tuple[Path, Catalog]) -> None:
    """No translation is empty."""
    assert [english for _, english, translated in pairs(catalogue[1]) if not translated] == []


def test_no_translation_is_two(catalogue: tuple[Path, Catalog]) -> None:
    """A merge of two branches can join two translations of one sentence, without a space between them."""
    joined = re.compile(r"[a-zäöüß][.!?][A-ZÄÖÜ][a-zäöüß]")
    found = [translated for *_, translated in pairs(catalogue[1]) if joined.search(translated)]
    assert found == []


def test_the_compiled_catalogue_is_up_to_date(catalogue: tuple[Path, Catalog]) -> None:
    """The program reads the compiled file. If this fails, run `make translations`."""
    path, needed = catalogue
    assert path.with_suffix(".mo").read_bytes() == as_mo(needed)


def test_a_translation_has_the_values_of_its_sentence(catalogue: tuple[Path, Catalog]) -> None:
    """Each value of a sentence is in its translation, and no unknown one, which could not be filled in."""
    wrong = [
        (english, translated)
        for message, english, translated in pairs(catalogue[1])
        if ("{" in english or "{" in translated) and fields(english) != fields(translated)
    ]
    assert wrong == []


def test_a_translation_keeps_the_commands(catalogue: tuple[Path, Catalog]) -> None:
    """A command that the user should type is the same in each language."""
    command = re.compile(r"trayagent (?:[a-z]{3,}\b(?:.(?=--)--\w+)?)")
    known = {
        "attach",
        "history",
        "init",
        "keep",
        "login",
        "reconnect",
        "resume",
        "run",
        "status",
        "stop",
        "why",
    }
    for _, english, translated in pairs(catalogue[1]):
        if english == "Which hosts should trayagent keep connected?":
            continue  # the verb, not the command
        commands = [found for found in command.findall(english) if found.split()[1] in known]
        assert [one for one in commands if one not in translated] == [], english


def test_a_translation_keeps_the_space_at_its_ends(catalogue: tuple[Path, Catalog]) -> None:
    """A part of a line begins and ends as the English part does."""
    for _, english, translated in pairs(catalogue[1]):
        assert (english[:1] == " ", english[-1:] == " ") == (translated[:1] == " ", translated[-1:] == " ")


def test_each_sentence_of_the_agent_is_recognized_with_its_values(catalogue: tuple[Path, Catalog]) -> None:
    """The agent reports filled-in sentences. Each is recognized as itself, and its values are in the translation."""
    needed = catalogue[1]
    agent = AgentSentences(GNUTranslations(BytesIO(as_mo(needed))))
    for message, english, translated in pairs(needed):
        if message.context == CONTEXT:
            values = {name: f"v{number}" for number, name in enumerate(sorted(fields(english)))}
            found = agent.translate(english.format_map(values))
            # Two patterns may differ only in the names of their values.
            assert sorted(found) == sorted(translated.format_map(values)), english


def test_the_sources_mark_every_sentence() -> None:
    """A text with two words in a room that users read is marked, or it is an error or a problem."""
    known = {
        part for s in sentences() for text in (s.text, s.plural) if text for part in (text, *_parts(text))
    }
    rooms = [*ROOT.glob("presentation/*.py"), *ROOT.glob("desktop/menu/*.py"), *ROOT.glob("status_page/*.py")]
    rooms += ROOT.glob("desktop/notifications/*_message*.py")
    rooms += [ROOT / "history/charts.py", ROOT / "history/history_page.py", ROOT / "attach/status_line.py"]
    rooms += [ROOT / "cli/view_text.py", ROOT / "cli/why_sentences.py"]
    rooms += [ROOT / "cli/init.py", ROOT / "cli/doctor_text.py"]
    rooms += sorted({*ROOT.glob("doctor/*.py"), *ROOT.glob("init/*.py")} - {ROOT / "init/render_config.py"})
    for path in rooms:
        unmarked = [text for text in texts(path) if text not in known and not NO_SENTENCE.search(text)]
        assert [text for text in unmarked if re.search(r"[A-Za-z]{2,} [A-Za-z]{2,}", text)] == KNOWN.get(
            path.name, []
        )


KNOWN = {
    "charts.py": ["bars many"],
    "doctor_text.py": ["bold red", "bold yellow"],
    "mptcp.py": [
        "&& sudo systemctl restart",
        r"printf '[Socket]\nSocketProtocol=mptcp\n' | sudo systemctl edit --stdin",
    ],
    "own_files.py": ["open to other"],
    "roaming_port.py": [
        (
            ')\n    try:\n        sock.accept()\n        print("reached")\n'
            '    except OSError:\n        pass\n    break\nelse:\n    print("taken")\n'
        ),
        "ufw allow ",
    ],
    "resolve_proposed.py": ["took longer"],
    "view_text.py": ["bold yellow", "bold red", "bold red", " trayagent reconnect "],
    "why_sentences.py": ["put in place", "second probe", "put in place"],
}
"""Texts that are no sentences: styles, classes, commands, verdicts."""


def texts(path: Path) -> Iterator[str]:
    """Yield the texts of a source, without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def _parts(text: str) -> Iterator[str]:
    yield from (literal for literal, *_ in Formatter().parse(text))


@pytest.mark.parametrize(
    ("environment", "chosen"),
    [
        ({}, None),
        ({"LANG": "C.UTF-8"}, None),
        ({"LANG": "de_DE.UTF-8"}, "de"),
        ({"LANG": "de_AT@euro"}, "de"),
        ({"LANG": "en_US.UTF-8"}, None),
        ({"LANG": "xx_XX.UTF-8"}, None),
        ({"LANG": "de_DE.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, None),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": ""}, "de"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "xx:de:en"}, "de"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "en:de"}, None),
        ({"LC_ALL": "C", "LANGUAGE": "de"}, None),
        ({"LANG": "../../de"}, None),
    ],
)
def test_the_language_is_that_of_the_environment(environment: dict[str, str], chosen: str | None) -> None:
    """The language is chosen as gettext(3) says. Without a catalogue for it, the program speaks English."""
    assert translation._chosen(environment) == chosen


@pytest.mark.usefixtures("german")
def test_a_view_is_translated_and_its_names_and_codes_stay() -> None:
    """The agent's sentences become German, also inside each other. Codes, names and unknown texts stay."""
    given = view(
        host(
            "db",
            "failed",
            problem=problem(
                "auth-denied", "The next login of db needs you: The key id needs its passphrase", "x y"
            ),
            forwards=[
                forward(
                    "local", "80", "failed", error="/run/x exists already, and trayagent did not create it"
                )
            ],
        ),
        host("web", "waiting", problem=problem("refused", "The jump host of web refused the connection", "")),
    )
    seen = translated_view(given)
    db, web = seen["hosts"]
    assert db["problem"] == {
        "code": "auth-denied",
        "title": "Bei der nächsten Anmeldung von db werden Sie gebraucht: Der Schlüssel id braucht seine Passphrase",
        "hint": "x y",
    }
    assert db["forwards"][0]["error"] == "/run/x gibt es schon, und trayagent hat es nicht angelegt"
    assert web["problem"]["title"] == "Der Jump-Host von web lehnte die Verbindung ab"
    assert agent_text("web: web refused the login") == "web: web lehnte die Anmeldung ab"
    failed = "Signing in to corp failed: no answer (12:00:00). Try it in a terminal: nmcli"
    assert agent_text(failed) == (
        "Die Anmeldung bei corp schlug fehl: no answer (12:00:00). Versuchen Sie es in einem Terminal: nmcli"
    )
    assert (
        agent_text("The agent ended. Its log says more.")
        == "Der Agent endete. Mehr steht in seinem Protokoll."
    )
    assert agent_text("Unknown words. More of them: here.") == "Unknown words. More of them: here."
    expired = agent_text("The certificate id.pub for the jump host gate expired on 2026-01-01 at 10:00")
    assert expired == "Das Zertifikat id.pub für den Jump-Host gate lief am 2026-01-01 at 10:00 ab"
    assert summary.headline(seen) == "0 von 2 verbunden · wlan0"
    assert state_words({**web, "since": None}, now()) == "Verbindung abgelehnt"
    assert language() == "de"
    assert translation._("") == agent_text("") == ""


def test_english_needs_no_catalogue() -> None:
    """Without another language, the view is the same object, and no sentence changes."""
    given: dict[str, Any] = view(host("web"))
    assert translated_view(given) is given
    assert agent_text("web refused the login") == "web refused the login"
    assert language() == "en"
