"""The icon in a tray that supports only XEmbed (i3bar, stalonetray, tint2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from trayagent.desktop.tray.look import Look
from trayagent.desktop.tray.look_lines import CLICKED, GONE, SHOWN
from trayagent.desktop.tray.separate_tray import SeparateTray
from trayagent.desktop.tray.update_rate import INTERVAL_S
from trayagent.own_module import own_module

log = logging.getLogger(__name__)

PROGRAM = tuple(own_module("trayagent.desktop.tray.xembed_icon"))

# Seconds before each try. A panel that shows StatusNotifierItems registers within some seconds after a login, and must
# not show a second icon. An agent started by systemd does not know the display until the session passes it to systemd.
# After the last wait the tray gives up until `nudge`.
WAITS_S = (5.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)


def x_display(environment: Mapping[str, str]) -> str | None:
    """Return the X display of a session, or None on Wayland.

    On Wayland no tray needs XEmbed, and using the display would start Xwayland.
    """
    if environment.get("WAYLAND_DISPLAY") or environment.get("XDG_SESSION_TYPE") == "wayland":
        return None
    return environment.get("DISPLAY") or None


class XEmbedTray(SeparateTray):
    """Shows the icon while it is `needed`, and calls `clicked` for a left click. There is no menu.

    `environment` returns the environment variables of the present desktop session, and may block.
    """

    def __init__(
        self,
        clicked: Callable[[], None],
        environment: Callable[[], Mapping[str, str]],
        *,
        program: Sequence[str] = PROGRAM,
        waits_s: Sequence[float] = WAITS_S,
        interval_s: float = INTERVAL_S,
    ) -> None:
        super().__init__(
            lambda _: None, program=program, called="the XEmbed icon's program", interval_s=interval_s
        )
        self._clicked, self._environment, self._waits_s = clicked, environment, waits_s
        self.shown = False
        """Whether a tray shows the icon."""
        self._is_needed = False
        self._task: asyncio.Task[None] | None = None

    def show(self, look: Look) -> None:
        """Show the icon of this look."""
        super().show(replace(look, menu=()))

    def needed(self, yes: bool) -> None:
        """Start to show the icon soon, or remove it. After the last wait, another call with True starts again."""
        was_needed, self._is_needed = self._is_needed, yes
        if yes and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="XEmbed icon")
            self._task.add_done_callback(self._done)
        elif was_needed and not yes and self._task is not None:
            self._task.cancel()  # cancel only once: a second time would interrupt the code that ends the program

    def nudge(self) -> None:
        """Try again if the tray gave up: there may be a display now."""
        if self._is_needed:
            self.needed(True)

    async def ended(self) -> None:
        """Wait until the program has ended after `needed(False)`."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            self.nudge()  # the icon may be needed again by now
        elif (error := task.exception()) is not None:
            log.error("the XEmbed icon failed", exc_info=error)

    async def _keep(self) -> None:
        """Run the program while there is a display, until the waits are used up."""
        waits = iter(self._waits_s)
        while (wait_s := next(waits, None)) is not None:
            await asyncio.sleep(wait_s)
            environment = await asyncio.to_thread(self._environment)
            if x_display(environment) is None:
                continue
            try:
                await self.run(environment)
            finally:
                was_shown, self.shown = self.shown, False
            if was_shown:  # the tray or the session has ended: start the waits again
                waits = iter(self._waits_s)

    def _heard(self, line: str) -> None:
        if line in {SHOWN, GONE}:
            self.shown = line == SHOWN
        elif line == CLICKED:
            self._clicked()
