"""Each menu choice passes the click's activation token to its program, so that the window may get the focus."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from trayagent.desktop.detached_programs import start
from trayagent.desktop.menu.commands import (
    Command,
    Copy,
    EditConfiguration,
    OpenTerminal,
    OpenUrl,
    ShowLog,
    SignIn,
)
from trayagent.desktop.menu_actions import Choices, Files
from trayagent.errors import TrayagentError

WITHIN_S = 20.0


async def nothing(*_: Any) -> Any:
    """Fail, because this choice must not call the agent."""
    raise AssertionError


def choices_of(tmp_path: Path, **env: str) -> Choices:
    """Return the object that carries out the choices in this environment."""
    return Choices(
        nothing,
        quit_=lambda: None,
        files=Files(tmp_path / "config.toml", tmp_path / "log", lambda: "# the example\n"),
        sign_in_words=lambda _: ["vpn-client"],
        activate=nothing,
        start_at_login=lambda _: None,
        environment=lambda: {"PATH": os.environ["PATH"], **env},
    )


def program(path: Path, *lines: str) -> None:
    """Write a shell script."""
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("command", "editor"),
    [
        (OpenTerminal("web"), False),
        (ShowLog(), False),
        (EditConfiguration(), True),
        (EditConfiguration(), False),
        (OpenUrl("http://localhost:8080"), False),
        (Copy("localhost:8080"), False),
        (SignIn("corp"), False),
    ],
)
def test_a_clicks_token_reaches_the_program_that_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command, editor: bool
) -> None:
    """The token reaches the editor's terminal, the sign-in's terminal, the desktop's opener or a clipboard program."""
    note = tmp_path / "token"
    for name in ("term", "xdg-open", "wl-copy", "ed"):
        program(tmp_path / name, f'echo "$XDG_ACTIVATION_TOKEN" > {note}.part', f"mv {note}.part {note}")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    choices = choices_of(tmp_path, TERMINAL="term", DISPLAY=":77", EDITOR="ed" if editor else "", VISUAL="")
    choices.activated_with("of this click")

    async def body() -> None:
        chosen = asyncio.ensure_future(choices.carry_out(command))
        limit = time.monotonic() + WITHIN_S
        while not note.exists():
            assert time.monotonic() < limit, "nothing was started"
            await asyncio.sleep(0.01)
        if isinstance(command, SignIn):  # close the window, because a sign-in waits for that
            chosen.cancel()
        await asyncio.wait([chosen])

    asyncio.run(body())
    assert note.read_text() == "of this click\n"


def test_a_configuration_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    """If the configuration's directory cannot be created, the error is shown."""
    (tmp_path / "file").touch()
    choices = choices_of(tmp_path)
    choices._configuration = tmp_path / "file" / "config.toml"
    with pytest.raises(
        TrayagentError, match=r"file/config\.toml cannot be created: (File exists|Not a directory)"
    ):
        asyncio.run(choices.carry_out(EditConfiguration()))


def test_a_new_configuration_is_opened_by_an_editor_if_the_desktop_has_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new configuration contains the commented example, and is opened in an editor.

    Without one, the opener's error is shown.
    """
    program(tmp_path / "xdg-open", "exit 3")
    program(tmp_path / "term", f'echo "$@" > {tmp_path}/ran.part', f"mv {tmp_path}/ran.part {tmp_path}/ran")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "mv").symlink_to("/bin/mv")
    choices = choices_of(tmp_path, TERMINAL="term")
    assert choices.can_set_up
    with pytest.raises(TrayagentError, match="xdg-open could not open it"):
        asyncio.run(choices.carry_out(EditConfiguration()))
    assert (tmp_path / "config.toml").read_text() == "# the example\n"
    assert not choices.can_set_up
    program(tmp_path / "nano")

    async def body() -> None:
        await choices.carry_out(EditConfiguration())
        limit = time.monotonic() + WITHIN_S
        while not (tmp_path / "ran").exists():
            assert time.monotonic() < limit, "no terminal was started"
            await asyncio.sleep(0.01)

    asyncio.run(body())
    assert (tmp_path / "ran").read_text().endswith(f"trayagent: configuration nano {tmp_path}/config.toml\n")


def test_an_address_that_nothing_opens_is_shown_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no program opens the address, the error's hint contains it. xdg-open(1) then ends with 3."""
    program(tmp_path / "xdg-open", "sleep 0.8", "exit 3")  # xdg-open tries one program after the other
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(TrayagentError, match=r"xdg-open could not open it \(status 3\)") as error:
        asyncio.run(choices_of(tmp_path).carry_out(OpenUrl("http://localhost:8080")))
    assert error.value.hint == "Open it yourself: http://localhost:8080"


def test_a_program_that_ends_later_causes_no_error(tmp_path: Path) -> None:
    """A program that ends after the loop stopped waiting for it causes no error."""
    program(tmp_path / "late", "sleep 0.2")
    complaints: list[object] = []

    async def body() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        assert await start([str(tmp_path / "late")], os.environ, 0.01) is None
        [waits] = [thread for thread in threading.enumerate() if thread.name.startswith("started ")]
        await asyncio.to_thread(waits.join)
        await asyncio.sleep(0.01)  # give the loop time to handle the thread's call

    asyncio.run(body())
    assert complaints == []
