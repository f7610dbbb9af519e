from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from tests.sandbox.run_demo import output_of_demo
from trayagent.cli import main
from trayagent.sandbox.demo import event_words, hostile_story
from trayagent.sandbox.demo.hostile_story import Result

GOOD = Result({"a": 1, "b": 2}, {"a": 1, "b": 2}, refused=0, lies=3, session=True, returned_s=0.1)


@pytest.mark.lab
@pytest.mark.usefixtures("possible")
def test_the_lying_cafe_takes_no_connection() -> None:
    """The demo exits with 0: no trick ends a master or counts as a refused login, and the session continues at home."""
    output = output_of_demo("--hostile")
    whole = r"alive: server (?P=server), backup (?P=backup); refused logins counted: 0"
    story = rf"""server: connected, master (?P<server>\d+)
.*backup: connected, master (?P<backup>\d+)
(.|\n)*Permission denied \(publickey\)\.(.|\n)*
 +the gateway lied \d+ times
 +{whole}
(.|\n)*hangs up(.|\n)*trayagent reconnect(.|\n)*server: no login(.|\n)*
 +{whole}
(.|\n)*another host key(.|\n)*server: no login: Another machine answers(.|\n)*
 +{whole}
(.|\n)*Back home(.|\n)*first byte through the forward
(.|\n)*still the\s+same: 2 of 2\. Refused logins counted: 0\.
(.|\n)*The open session goes on\."""
    assert re.search(story, output), output


@pytest.mark.parametrize(
    "harm",
    [
        {"after": {"a": 1, "b": 3}},
        {"after": {"a": 1, "b": None}},
        {"before": {"a": 1, "b": None}, "after": {"a": 1, "b": None}},
        {"refused": 1},
        {"session": False},
        {"lies": 0},
    ],
)
def test_harm_is_reported_as_an_error(harm: dict[str, object]) -> None:
    """A lost master, a counted refusal, a dead session, or a café that told no lie is reported as an error."""
    assert GOOD.survived
    bad = replace(GOOD, **harm)
    assert not bad.survived
    assert "did harm" in hostile_story._summary(bad)[-1]
    assert not any("did harm" in text for text in hostile_story._summary(GOOD))


def test_the_option_chooses_the_play(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--hostile` runs the hostile demo with the round-trip time. The demo's result is the exit status."""
    monkeypatch.setattr("trayagent.sandbox.demo.play_hostile", int)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert main.entry(["demo", "--hostile", "--rtt", "3"]) == 3


def test_numbers_of_times_are_written_in_words() -> None:
    """1 is written as "once"."""
    assert [event_words.times(n) for n in (0, 1, 2)] == ["0 times", "once", "2 times"]
