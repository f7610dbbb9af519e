"""Carries out what the user chose in the menu or on a message."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from trayagent.desktop.activation_token import Activation
from trayagent.desktop.clipboard import copy
from trayagent.desktop.host_login import log_in
from trayagent.desktop.menu import commands as c
from trayagent.desktop.open_configuration import open_configuration
from trayagent.desktop.open_terminal import open_terminal
from trayagent.desktop.open_with_desktop import open_with_desktop
from trayagent.desktop.vpn_sign_in_program import sign_in
from trayagent.desktop.window_title_and_pause import (
    AFTER_ENTER,
    AFTER_ERROR_OF_SSH,
    IN_PAGER,
    SENTENCE_FIRST,
    in_terminal,
)
from trayagent.errors import TrayagentError
from trayagent.own_module import own_module
from trayagent.presentation.translation import _, agent_text

Request = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""A function that calls one of the agent's operations, as the command line does. Raises TrayagentError."""

STATUS_PAGE = "status.html"
PAGE_S = 20.0
"""The time limit for writing the status page. It takes a fraction of a second unless the disk or machine is busy."""


WITHOUT_WINDOW = (c.Do, c.Pause, c.StartAtLogin, c.Quit)
"""Choices that start no program with a window."""


class Files(Struct, frozen=True):
    """The files that the user can open. `new_configuration` returns the text of a first configuration."""

    configuration: Path
    log: Path
    new_configuration: Callable[[], str]


class Choices:
    """Carries out each command of the menu; `carry_out` raises TrayagentError."""

    def __init__(
        self,
        request: Request,
        *,
        quit_: Callable[[], None],
        files: Files,
        sign_in_words: Callable[[str], Sequence[str] | None],
        activate: Callable[[str], Awaitable[None]],
        start_at_login: Callable[[bool], None],
        environment: Callable[[], Mapping[str, str]],
    ) -> None:
        self._request = request
        self._quit = quit_
        self._configuration, self._log = files.configuration, files.log
        self._sign_in_words = sign_in_words
        self._activate = activate
        self._start_at_login = start_at_login
        self._environment = environment
        self._new_configuration = files.new_configuration
        self._activation = Activation()

    @property
    def can_set_up(self) -> bool:
        """Report whether there is no configuration yet, so that `init` can write the first one."""
        return not self._configuration.exists()

    def environment(self) -> Mapping[str, str]:
        """Return the environment for a program with a window. May block for a second."""
        return self._environment()

    def activated_with(self, token: str) -> None:
        """Keep the desktop's activation token for the next program that is started."""
        self._activation.given(token)

    async def token_is_used(self) -> bool:
        """Report whether a program may use the present token, see `Activation.is_used`."""
        return await self._activation.is_used()

    def opens_no_window(self) -> None:
        """Forget the token of a click that opens no window."""
        self._activation.drop()

    async def carry_out(self, command: c.Command) -> None:
        """Do what the user chose. Return when that is done, or when its program runs."""
        if isinstance(command, WITHOUT_WINDOW):
            self._activation.drop()
        match command:
            case c.Do(op, hosts):
                await self._do(op, hosts)
            case c.Pause(span, hosts):
                for_s = c.seconds(span, datetime.now(UTC))
                await self._request("pause", {"hosts": list(hosts), "for_s": for_s})
            case c.SignIn(vpn):
                await self._sign_in(vpn)
            case c.StartAtLogin(on):
                await asyncio.to_thread(self._start_at_login, on)  # this may wait for systemd
            case c.Quit():
                self._quit()
            case _:
                await self._show(command)

    async def _show(self, command: c.Command) -> None:
        match command:
            case c.OpenTerminal(host):
                attach = own_module("trayagent", "attach", "--config", str(self._configuration))
                await self._terminal(in_terminal(host, [*attach, "--", host], AFTER_ERROR_OF_SSH))
            case c.LogIn(host):
                await log_in(host, await self._env())
            case c.ShowWhy(host):
                why = own_module("trayagent", "why", "--", host)
                await self._terminal(in_terminal(_("{host}: why").format(host=host), why, IN_PAGER))
            case c.ShowStatus():
                await self._status_page()
            case c.ShowLog():
                await self._terminal(in_terminal(_("trayagent: log"), ["less", "+G", str(self._log)]))
            case c.EditConfiguration():
                env = await self._env()
                await open_configuration(self._configuration, self._new_configuration, env)
            case c.SetUp():
                words = own_module("trayagent", "--config", str(self._configuration), "init")
                await self._terminal(in_terminal(_("trayagent: set up"), words, AFTER_ENTER))
            case c.OpenUrl(url):
                await open_with_desktop(url, await self._env())
            case c.Copy(text):
                await copy(text, await self._env())

    async def _do(self, op: str, hosts: Sequence[str]) -> None:
        done = await self._request(op, {"hosts": list(hosts)})
        failed = [h for h in done.get("hosts", []) if h["state"] != "connected" and h["problem"]]
        if op == "reconnect" and failed:
            problem = failed[0]["problem"]
            title = f"{failed[0]['name']}: {agent_text(problem['title'])}"
            raise TrayagentError(title, hint=problem["hint"])

    async def _sign_in(self, vpn: str) -> None:
        words = self._sign_in_words(vpn)
        if words is None:
            await self._activate(vpn)
            return
        env = await self._env()
        display = sys.platform == "darwin" or env.get("DISPLAY") or env.get("WAYLAND_DISPLAY")
        await sign_in(vpn, words, partial(open_terminal, env=env) if display else None)

    async def _status_page(self) -> None:
        """Write the status page into the log's directory, and open it.

        A separate process writes the page, so that the agent needs no more memory.
        """
        env, page = await self._env(), self._log.with_name(STATUS_PAGE)
        words = own_module("trayagent", "--config", str(self._configuration), "status", "--html", str(page))
        await asyncio.to_thread(page.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        child = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            umask=0o077,  # the page contains the names of hosts and networks, so only the user may read it
        )
        try:
            async with asyncio.timeout(PAGE_S):
                said = (await child.communicate())[1]
        except TimeoutError:
            raise TrayagentError(f"The status page was not written within {PAGE_S:g} s.") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode:
            lines = said.decode(errors="replace").strip().removeprefix("trayagent: ").splitlines()
            title, *hint = lines or [f"The status page was not written (status {child.returncode})."]
            raise TrayagentError(title, hint=" ".join(line.strip() for line in hint))
        try:
            await open_with_desktop(page.as_uri(), env)
        except TrayagentError as no_browser:
            await self._status_in_terminal(page, env, no_browser)

    async def _status_in_terminal(
        self, page: Path, env: Mapping[str, str], no_browser: TrayagentError
    ) -> None:
        """Show the path of the page and the output of `trayagent status`. Raises `no_browser` without a terminal."""
        note = _("No program opened the status page. Its file: {path}").format(path=page)
        status = own_module("trayagent", "--config", str(self._configuration), "status")
        words = ["sh", "-c", SENTENCE_FIRST, note, *status]
        try:
            await open_terminal(in_terminal(_("trayagent: status"), words, AFTER_ENTER), env)
        except TrayagentError:
            raise no_browser from None

    async def _terminal(self, words: Sequence[str]) -> None:
        await open_terminal(words, await self._env())

    async def _env(self) -> Mapping[str, str]:
        """Return the environment for the program of a choice. Call this once for each choice: a token is valid once."""
        return self._activation.lay_over(await asyncio.to_thread(self._environment))
