"""The hostile demo: a café's gateway impersonates the server, and the living connections survive."""

from __future__ import annotations

import time

from msgspec import Struct
from rich.text import Text

from trayagent.sandbox import network_map as plan
from trayagent.sandbox.demo import event_words
from trayagent.sandbox.demo.event_printer import EventPrinter
from trayagent.sandbox.demo.hostile_stage import BACKUP, HOSTS, HostileStage
from trayagent.sandbox.demo.screen import Screen, for_stdout
from trayagent.sandbox.demo.stage import AGENT_PORT, HOST
from trayagent.sandbox.liar import Liar

FORGED = "Permission denied (publickey)."
# The length of the first act, in which the agent tries on its own. It is longer where a login takes longer.
WATCH_S = 4.0
WATCH_ROUND_TRIPS = 24
# How long the laptop has no network between home and the café.
IN_FLIGHT_S = 1.0


class Result(Struct, frozen=True):
    """The result of the demo: the masters before and after, counted refused logins, connections to the impersonator."""

    before: dict[str, int | None]
    after: dict[str, int | None]
    refused: int
    lies: int
    session: bool
    returned_s: float

    @property
    def survived(self) -> bool:
        """Whether every master still runs, no refused login was counted, and the open session continued."""
        alive = None not in self.before.values() and self.before == self.after
        return alive and self.refused == 0 and self.session and self.lies > 0


def play(rtt_ms: float, screen: Screen | None = None) -> int:
    """Run the hostile demo. Return 0 if the connections survived, 1 if not.

    Raises TrayagentError if the machine cannot run it, or if an expected event does not happen.
    """
    begin = time.monotonic()
    screen = screen or for_stdout()
    with screen, HostileStage(rtt_ms) as stage:
        _prologue(stage, screen, begin)
        before = stage.masters()
        stage.settle()
        liar = stage.lab.liar("cafe")
        _forged(stage, screen, liar)
        _hang_up(stage, screen, liar)
        _wrong_key(stage, screen, liar)
        lies, refused = liar.visits, stage.refused()
        returned_s = _home(stage, screen)
        result = Result(before, stage.masters(), refused, lies, stage.session_answers("home"), returned_s)
        for text in _summary(result):
            screen.paragraph(text)
    return 0 if result.survived else 1


def _prologue(stage: HostileStage, screen: Screen, begin: float) -> None:
    row = screen.timed_rows(begin)
    screen.heading("A laptop with two connections, and a café whose gateway lies")
    version = stage.start_server()
    row(f"the laptop is at home, {plan.NETWORKS['home'].laptop}; a round trip takes {stage.rtt_ms:g} ms")
    row(f"{HOST} and {BACKUP} are a real sshd, {version}, on {plan.SERVER}")
    stage.start_agent()
    stage.open_session()
    for name, pid in stage.masters().items():
        row(f"{name}: connected, master {pid}")
    row(f"beside them, ssh {HOST} cat: a session that waits for input")


def _forged(stage: HostileStage, screen: Screen, liar: Liar) -> None:
    """Let the gateway forge a refusal before any key exchange, which the agent's own retries receive."""
    screen.heading(f"1  In the café a forged “{FORGED}” answers")
    liar.disconnects(FORGED)
    t0 = stage.lab.switch("home", "cafe", gap_s=IN_FLIGHT_S)
    printer = EventPrinter(stage.events, screen, t0, named=True)
    until = t0 + WATCH_S + WATCH_ROUND_TRIPS * stage.rtt_ms / 1000
    while time.monotonic() < until or not liar.visits:
        if time.monotonic() - t0 > stage.deadline_s:
            raise stage.failure("no connection came to the lying gateway")
        printer.print_new()
        screen.moving([Text(f"  the gateway has lied {event_words.times(liar.visits)}")])
    screen.moving(())
    printer.print_new()
    _verdict(stage, screen, f"the gateway lied {event_words.times(liar.visits)}")


def _hang_up(stage: HostileStage, screen: Screen, liar: Liar) -> None:
    """Let the gateway accept and close connections while the user requests new ones."""
    screen.heading("2  The gateway accepts each connection and hangs up")
    liar.closes()
    _reconnect(stage, screen)


def _wrong_key(stage: HostileStage, screen: Screen, liar: Liar) -> None:
    """Let the gateway run a real sshd with another host key, which would accept any login."""
    screen.heading("3  The gateway runs an sshd of its own, with another host key")
    liar.pretends()
    _reconnect(stage, screen)


def _reconnect(stage: HostileStage, screen: Screen) -> None:
    """Request a reconnect as a user would, and show the result."""
    t0 = time.monotonic()
    screen.row("0 ms", f"you ask for it: trayagent reconnect {' '.join(HOSTS)}")
    printer = EventPrinter(stage.events, screen, t0, named=True)
    stage.agent.cli("reconnect", *HOSTS, deadline_s=stage.deadline_s)
    printer.print_new()
    _verdict(stage, screen)


def _verdict(stage: HostileStage, screen: Screen, note: str = "") -> None:
    living = [f"{name} {pid}" for name, pid in stage.living().items()]
    text = f"alive: {', '.join(living) or 'none'}; refused logins counted: {stage.refused()}"
    whole = len(living) == len(HOSTS) and not stage.refused()
    if note:
        screen.row("", note)
    screen.row("", text, "bold green" if whole else "bold red")


def _home(stage: HostileStage, screen: Screen) -> float:
    """Go home; return after how many seconds the forward answered."""
    screen.heading("4  Back home: the same network, the same address")
    with stage.stopwatch(AGENT_PORT) as watch:
        t0 = stage.lab.switch("cafe", "home")
        watch.release()
        printer = EventPrinter(stage.events, screen, t0, named=True)
        at = stage.wait(watch)
        printer.first_byte(at)
        while not stage.all_connected():
            printer.print_new()
            if time.monotonic() - t0 > stage.deadline_s:
                raise stage.failure("the connections did not come back in time")
        printer.print_new()
    return at - t0


def _summary(result: Result) -> list[str]:
    """Return the summary of the result."""
    count = sum(result.after[name] == pid for name, pid in result.before.items())
    text = (
        f"The café answered {event_words.times(result.lies)} in the server's place, and with an sshd of its own. "
        f"Masters that are still the same: {count} of {len(result.before)}. "
        f"Refused logins counted: {result.refused}."
    )
    session = "The open session goes on." if result.session else "The open session is gone."
    home = f"Back home, the forward answered after {result.returned_s * 1000:.0f} ms. {session}"
    if not result.survived:
        return [text, home, "The café did harm: this should not have happened."]
    return [text, home]
