"""The main demo: the laptop goes from home to the café, then loses its link and gets it back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from trayagent.sandbox import network_map as plan
from trayagent.sandbox.demo import event_words
from trayagent.sandbox.demo.event_printer import EventPrinter
from trayagent.sandbox.demo.screen import Screen, for_stdout
from trayagent.sandbox.demo.silence_bar import Lane
from trayagent.sandbox.demo.stage import AGENT_PORT, FORWARD, HOST, PLAIN_FORWARD, PLAIN_PORT, Stage
from trayagent.sandbox.demo.stopwatch import Stopwatch

AWAY_S = 3.0
# How long the demo watches the plain ssh. It watches longer where a login takes longer.
WATCH_S = 6.0
WATCH_ROUND_TRIPS = 24


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of an act: monotonic t0, seconds from t0 to the first byte, the masters before and after."""

    t0: float
    took_s: float
    before: int | None
    after: int | None


def play(rtt_ms: float, screen: Screen | None = None) -> int:
    """Run the demo. Return 0 if the agent recovered, 1 if not.

    Raises TrayagentError if the machine cannot run it, or if an expected event does not happen.
    """
    begin = time.monotonic()
    screen = screen or for_stdout()
    with screen, Stage(rtt_ms) as stage:
        cold_s = prologue(stage, screen, begin)
        with stage.stopwatch(PLAIN_PORT) as plain:
            first = to_the_cafe(stage, screen, plain)
            second = away_and_back(stage, screen, plain, first.t0)
            lane = _plain(plain, first.t0)
        recovered = None not in (first.before, first.after) and first.after != first.before
        kept = second.after is not None and second.after == second.before
        for text in event_words.summary(first.took_s, cold_s, second.took_s, recovered=recovered, kept=kept):
            screen.paragraph(text)
        screen.paragraph(event_words.about_plain(lane.silent_s, lane.answered, stage.check_plain()))
    return 0 if recovered and kept else 1


def prologue(stage: Stage, screen: Screen, begin: float) -> float:
    """Set everything up; return the seconds that a plain ssh took from its start to its first byte."""
    row = screen.timed_rows(begin)
    screen.heading("A laptop, two networks and a server, inside this machine")
    version = stage.start_server()
    row(f"the laptop is at home, {plan.NETWORKS['home'].laptop}; a round trip takes {stage.rtt_ms:g} ms")
    row(f"{HOST} is a real sshd, {version}, on {plan.SERVER}")
    stage.start_agent()
    row(f"trayagent run: connected, -L {FORWARD} carries data")
    cold_s = stage.start_plain()
    row(f"beside it, a plain ssh -N -L {PLAIN_FORWARD} does too")
    return cold_s


def to_the_cafe(stage: Stage, screen: Screen, plain: Stopwatch) -> Seen:
    """Go to another network and watch both forwards."""
    screen.heading("1  From home to the café: another network, another address")
    before = stage.master_pid()
    scale_s = WATCH_S + WATCH_ROUND_TRIPS * stage.rtt_ms / 1000
    with stage.stopwatch(AGENT_PORT) as ours:
        t0 = stage.lab.switch("home", "cafe")
        ours.release()
        plain.release()

        def lanes() -> list[Text]:
            both = (_lane("trayagent", ours, t0), _plain(plain, t0))
            return [lane.line(scale_s, screen.columns) for lane in both]

        took_s = _watch(stage, screen, ours, t0, lambda _: time.monotonic() - t0 > scale_s, lanes)
        screen.lines(lanes())
    return Seen(t0, took_s, before, stage.master_pid())


def away_and_back(stage: Stage, screen: Screen, plain: Stopwatch, since: float) -> Seen:
    """Lose the link for a while and get it back with the same address. The plain ssh still hangs."""
    screen.heading(f"2  The link goes away for {AWAY_S:g} s and returns with the same address")
    before = stage.master_pid()

    def lanes() -> list[Text]:
        return [_plain(plain, since).words()]

    lost = stage.lab.link_down()
    printer = EventPrinter(stage.events, screen, lost)
    while time.monotonic() - lost < AWAY_S:
        printer.print_new()
        printer.network(note="; it waits, and kills nothing", label=f"-{AWAY_S:g} s")
        screen.moving(lanes())
    with stage.stopwatch(AGENT_PORT) as ours:
        back = stage.lab.link_up()
        ours.release()
        took_s = _watch(
            stage, screen, ours, back, lambda t: bool(t.seen & {"master-kept", "connected"}), lanes
        )
    screen.lines(lanes())
    return Seen(back, took_s, before, stage.master_pid())


def _watch(
    stage: Stage,
    screen: Screen,
    ours: Stopwatch,
    t0: float,
    done: Callable[[EventPrinter], bool],
    picture: Callable[[], list[Text]],
) -> float:
    """Print the events until the forward has answered and `done` is true. Return the seconds until the answer."""
    printer = EventPrinter(stage.events, screen, t0)
    told = False
    while not (told and done(printer)):
        printer.print_new()
        if not told and (at := ours.answered()):
            printer.first_byte(at)
            told = True
        elif time.monotonic() - t0 > stage.deadline_s:
            raise stage.failure("the forward did not come back in time")
        screen.moving(picture())
    screen.moving(())
    return stage.wait(ours) - t0


def _lane(name: str, watch: Stopwatch, since: float) -> Lane:
    at = watch.answered()
    return Lane(name, (at or time.monotonic()) - since, answered=at is not None)


def _plain(watch: Stopwatch, since: float) -> Lane:
    return _lane("plain ssh", watch, since)
