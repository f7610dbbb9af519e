"""The roaming demo."""

from __future__ import annotations

import re
import shutil

import pytest
from msgspec.structs import replace

from tests.lab.matrix import need
from tests.sandbox.run_demo import output_of_demo
from trayagent.cli import main
from trayagent.sandbox.demo import roaming_story
from trayagent.sandbox.demo.roaming_story import Outcome
from trayagent.sandbox.lab_tools import search_path

GOOD = Outcome(whole=True, before=7, after=7, took_s=6.0, plain_share=0.1, plain_status=None)


@pytest.mark.lab
@pytest.mark.usefixtures("possible")
def test_one_rsync_goes_on_and_the_other_does_not() -> None:
    """The demo exits with 0: one rsync survives two moves and fetches the whole file. Plain ssh's rsync does not."""
    need(shutil.which("rsync", path=search_path()), "rsync")
    output = output_of_demo("--roam")
    moved = r"(.|\n)*has taken its place(.|\n)*the open session goes on(.|\n)*"
    story = rf"To the café{moved}On to the office{moved}trayagent  ━+ 100 %(.|\n)*still waits"
    assert re.search(story, output), output


@pytest.mark.parametrize("harm", [{"whole": False}, {"before": None}, {"after": 8}])
def test_a_session_that_ended_is_reported(harm: dict[str, object]) -> None:
    """An incomplete file or another inner master is reported as an error."""
    assert GOOD.survived
    bad = replace(GOOD, **harm)
    assert not bad.survived
    assert "did not survive" in roaming_story.summary(bad)[0]


def test_the_end_of_plain_ssh_is_shown() -> None:
    """The last paragraph reports how the plain rsync ended, or that it still waits."""
    assert "still waits at 10 %" in roaming_story.summary(GOOD)[-1]
    assert "status 255 at 10 %" in roaming_story.summary(replace(GOOD, plain_status=255))[-1]


def test_the_option_chooses_the_play(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--roam` runs the roaming demo. The demo's result is the exit status."""
    monkeypatch.setattr("trayagent.sandbox.demo.play_roaming", int)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert main.entry(["demo", "--roam", "--rtt", "3"]) == 3
