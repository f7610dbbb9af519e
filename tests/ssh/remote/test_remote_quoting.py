"""A script reaches sh unchanged through every login shell."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trayagent.ssh.remote.quote_script import command_line, quoted

NASTY = """printf '%s\\n' "it's" 'a\\b' '!!' '$HOME' "%d %b" '`id`' 'ü → €' '  two  blanks ' "" '~' '*' #x
case x in (x) echo "yes";; esac"""
SAYS = ["it's", "a\\b", "!!", "$HOME", "%d %b", "`id`", "ü → €", "  two  blanks ", "", "~", "*", "yes"]
SHELLS = ("sh", "dash", "bash", "zsh", "tcsh", "fish")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_with_everything_that_shells_mangle_runs_as_written(shell: str) -> None:
    """Quotes, backslashes, `!`, newlines and text like an expansion pass every login shell unchanged."""
    if shutil.which(shell) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{shell} is missing")
        pytest.skip(f"{shell} is missing")
    done = subprocess.run(
        [shell, "-c", command_line(NASTY)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.splitlines() == SAYS, done


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_any_word_can_be_quoted_within_the_command_line(word: str) -> None:
    """A command line has single quotes only at its ends, no newline, no `!` and only ASCII."""
    line = command_line(f"echo {quoted(word)}")
    inner = line.removeprefix("exec sh -c '").removesuffix("'")
    assert not set(inner) & set("'\n!")
    assert line.isascii()


def test_a_word_with_a_nul_is_refused() -> None:
    """A word with a NUL raises ValueError, because no program can receive it."""
    with pytest.raises(ValueError, match="NUL"):
        quoted("a\0b")
