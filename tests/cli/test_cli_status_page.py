from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import FakeAgent, Run


def test_the_page_shows_the_view_and_decisions_in_sentences(
    agent: FakeAgent, run: Run, tmp_path: Path
) -> None:
    """The page has each host of the view, with decisions in sentences.

    It is written completely, and the command prints its path.
    """
    agent.decisions = [
        {
            "at": "2026-01-01T08:00:02Z",
            "row": 6,
            "verdict": "keep",
            "evidence": "probe=ok",
            "pairs": [["probe", "ok"]],
        },
        {"at": "2026-01-01T08:00:03Z", "row": 0, "verdict": "of a newer agent", "evidence": "", "pairs": []},
    ]
    file = tmp_path / "status.html"
    done = run("status", "--html", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Written: {file}\n"
    page = file.read_text()
    assert page.endswith("</html>\n")
    assert all(host["name"] in page for host in agent.view["hosts"])
    assert "the old connection works: it is kept" in page
    assert "of a newer agent" not in page
    assert [path.name for path in tmp_path.iterdir() if not path.is_dir()] == ["status.html"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--html", "/etc"), 1, "/etc cannot be written: it is a directory"),
        (("--html", "x.html", "--watch"), 2, "--html and --watch exclude each other"),
        (("--html", "x.html", "--json"), 2, "not allowed with argument"),
    ],
)
def test_a_page_that_cannot_be_made_is_one_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], status: int, said: str
) -> None:
    """If the page cannot be written, the error gives the reason, and no file is left."""
    monkeypatch.chdir(tmp_path)
    done = run("status", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert not list(tmp_path.glob("*.html"))


def test_without_an_agent_there_is_no_page(run: Run, tmp_path: Path) -> None:
    """Without an agent, the exit status is 3, as without --html, and an earlier page stays."""
    file = tmp_path / "status.html"
    file.write_text("earlier")
    assert run("status", "--html", str(file)).returncode == 3
    assert file.read_text() == "earlier"
