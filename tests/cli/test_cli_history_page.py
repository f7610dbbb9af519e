from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".", ". cannot be written: it is a directory"),
        ("/", "/ cannot be written: it is a directory"),
        ("/etc", "/etc cannot be written: it is a directory"),
        ("", "'' cannot be written: it names no file"),
        ("~nobodyx/page.html", "~nobodyx/page.html cannot be written: there is no such home directory"),
        ("/etc/passwd/x", "/etc/passwd/x cannot be written: Not a directory"),
        ("x" * 300, "x cannot be written: File name too long"),
        ("y" * 252, "y cannot be written: File name too long"),
    ],
    ids=lambda text: text[:20],
)
def test_a_page_that_cannot_be_written_is_one_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    """If the page cannot be written, the error names the path and explains what to do. No file is left."""
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    done = run("history", "--html", name)
    assert (done.returncode, done.stdout) == (1, "")
    said, hint = done.stderr.splitlines()
    assert said.startswith("trayagent: ")
    assert said.endswith(f"{why}.")
    assert hint == "  Name a file in a directory of your own, such as ~/outages.html."
    assert {path for path in tmp_path.iterdir() if not path.is_dir()} <= before
