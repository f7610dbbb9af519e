"""The roaming demo: one rsync survives two changes of network, and an rsync over a plain ssh does not."""

from __future__ import annotations

import time

from msgspec import Struct
from rich.text import Text

from trayagent.sandbox import network_map as plan
from trayagent.sandbox.demo.event_printer import EventPrinter
from trayagent.sandbox.demo.roaming_stage import SIZE, Copy, RoamingStage
from trayagent.sandbox.demo.screen import Screen, for_stdout
from trayagent.sandbox.demo.silence_bar import Progress
from trayagent.sandbox.demo.stage import HOST

# The laptop moves when these shares of the file have arrived through the agent's connection.
MOVES = ((0.15, "home", "cafe", "1  To the café"), (0.55, "cafe", "office", "2  On to the office"))
PLAIN_FIRST = 0.15  # The plain ssh has to log in first. Its transfer must begin before the first move.


class Outcome(Struct, frozen=True):
    """The result: whether the file is complete, the inner masters before and after, and the total seconds."""

    whole: bool
    before: int | None
    after: int | None
    took_s: float
    plain_share: float
    plain_status: int | None

    @property
    def survived(self) -> bool:
        """Whether rsync succeeded through one and the same connection."""
        return self.whole and self.before is not None and self.before == self.after


def play(rtt_ms: float, screen: Screen | None = None) -> int:
    """Run the roaming demo. Return 0 if the session survived, 1 if not.

    Raises TrayagentError if the machine cannot run it, or if an expected event does not happen.
    """
    begin = time.monotonic()
    screen = screen or for_stdout()
    with screen, RoamingStage(rtt_ms) as stage:
        wanted = _prologue(stage, screen, begin)
        before, t0 = stage.inner_pid(), time.monotonic()
        ours, plain = stage.start_copies()
        _until_arrived(stage, screen, (ours, plain), plain, PLAIN_FIRST)
        for share, left, joined, title in MOVES:
            _until_arrived(stage, screen, (ours, plain), ours, share)
            _move(stage, screen, ours, plain, left, joined, title)
        screen.heading("3  The file is here")
        _until_arrived(stage, screen, (ours, plain), ours, 1.0)
        took_s = time.monotonic() - t0
        screen.lines(_bars(screen, ours, plain))
        outcome = Outcome(ours.is_whole(wanted), before, stage.inner_pid(), took_s, plain.share, plain.status)
        for text in summary(outcome):
            screen.paragraph(text)
    return 0 if outcome.survived else 1


def _prologue(stage: RoamingStage, screen: Screen, begin: float) -> str:
    """Set everything up; return the hash of the file."""
    row = screen.timed_rows(begin)
    screen.heading("A laptop, three networks, and an rsync that takes longer than the stay")
    version = stage.start_server()
    row(f"the laptop is at home, {plan.NETWORKS['home'].laptop}; a round trip takes {stage.rtt_ms:g} ms")
    row(f"{HOST} is a real sshd, {version}, on {plan.SERVER}")
    stage.start_agent()
    row("trayagent run, with roam = true for this host: it roams")
    wanted = stage.make_file()
    row(f"rsync fetches {SIZE / 1e6:.0f} MB twice: as always, and with ssh -S none")
    return wanted


def _until_arrived(
    stage: RoamingStage, screen: Screen, shown: tuple[Copy, Copy], copy: Copy, share: float
) -> None:
    """Show both copies until `share` of one has arrived. If `share` is 1, continue until its rsync has ended."""
    limit = time.monotonic() + stage.deadline_s
    while copy.share < share or (share == 1.0 and copy.status is None):
        if time.monotonic() > limit or copy.status not in {None, 0}:
            raise stage.failure(f"rsync stopped at {100 * copy.share:.0f} %")
        screen.moving(_bars(screen, *shown))
        time.sleep(0.04)
    screen.moving(())


def _move(
    stage: RoamingStage, screen: Screen, ours: Copy, plain: Copy, left: str, joined: str, title: str
) -> None:
    """Go to another network, and show the events until the session continues."""
    screen.heading(f"{title}, while rsync runs")
    t0 = stage.lab.switch(left, joined)
    printer = EventPrinter(stage.events, screen, t0)
    while "moved" not in printer.seen:
        if time.monotonic() - t0 > stage.deadline_s:
            raise stage.failure("the session did not go on in time")
        printer.print_new()
        screen.moving(_bars(screen, ours, plain))
    screen.moving(())
    printer.print_new()
    screen.lines(_bars(screen, ours, plain))


def _bars(screen: Screen, ours: Copy, plain: Copy) -> list[Text]:
    both = (Progress("trayagent", ours.share), Progress("plain ssh", plain.share))
    return [one.line(screen.columns) for one in both]


def summary(outcome: Outcome) -> list[str]:
    """Return the summary of the result."""
    percent = f"{100 * outcome.plain_share:.0f} %"
    ended = outcome.plain_status is not None
    plain = (
        f"Through plain ssh, rsync ended with status {outcome.plain_status} at {percent}."
        if ended
        else f"Through plain ssh, rsync still waits at {percent}, for an answer that cannot come."
    )
    if not outcome.survived:
        return ["The session did not survive the moves.", plain]
    text = (
        f"rsync succeeded after {outcome.took_s:.1f} s and two moves, and the file is the same as on the server. "
        f"It used one ssh connection, master {outcome.after}, and noticed nothing."
    )
    return [text, plain]
