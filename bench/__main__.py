"""The program of `make bench`: prints a table of times, relative to a cold plain ssh in the same run."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Sequence

from bench import (
    attaching,
    client_table,
    decision,
    first_connection,
    icon,
    moving,
    mptcp,
    recovery,
    resting,
    roaming,
    scale,
    silent_losses,
    typing,
)
from bench.contestants import PEERS, SUPERVISED, Trayagent
from bench.scenarios import SCENARIOS, Scenario

ATTACH = "attach"
ROAM = "roam"
MOVE = "move"
PORT = "port"
MPTCP = "mptcp"
STANDBY = "standby"
TYPE = "type"
BESIDE = "beside"
BESIDE_BOUND = 1.5
KEYS = (*SCENARIOS, ATTACH, ROAM, MOVE, PORT, MPTCP, STANDBY, TYPE, BESIDE)
CLIENTS = "clients"  # not one of all, because it takes a quarter of an hour
SILENT = "silent"  # not one of all, either
SILENT_RUNS = 3
SCALE = (10, 30, 60, 100)
BEHIND_JUMP = 30
UNUSED = 1000


def main() -> int:
    """Measure, print the results, and return 1 if a bound was missed."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument(
        "scenarios", nargs="*", metavar="S", help=f"which (all: {' '.join(KEYS)}), or {CLIENTS}, or {SILENT}"
    )
    parser.add_argument("-n", "--runs", type=int, help=f"runs of each (5, of {SILENT} {SILENT_RUNS})")
    parser.add_argument(
        "--peers", action="store_true", help="measure the alternatives too, once each (minutes)"
    )
    parser.add_argument(
        "--scale",
        nargs="*",
        type=int,
        metavar="N",
        help=f"measure these numbers of hosts instead ({' '.join(map(str, SCALE))})",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="X",
        help=f"with {CLIENTS}: {' '.join(client_table.KEYS)}; with {SILENT}: {' '.join(silent_losses.ROWS)}",
    )
    parser.add_argument("--old", action="store_true", help=f"with {SILENT}: connections of 10 minutes, too")
    args = parser.parse_args()
    if args.scenarios == [SILENT]:
        rows = silent_losses.ROWS
        keys = args.only or [key for key, one in rows.items() if args.old or not one.slow]
        strange = [key for key in keys if key not in rows]
        if strange:
            parser.error(f"no row {strange[0]}; there are {' '.join(rows)}")
        return 1 if silent_losses.measure_all(keys, args.runs or SILENT_RUNS, say) else 0
    args.runs = args.runs or 5
    if args.scale is not None:
        return 1 if many_hosts(args.scale or SCALE) else 0
    if args.scenarios == [CLIENTS]:
        strange = [key for key in args.only or () if key not in client_table.KEYS]
        if strange:
            parser.error(f"no program {strange[0]}; there are {' '.join(client_table.KEYS)}")
        client_table.measure(args.only or client_table.KEYS, say)
        return 0
    unknown = [s for s in args.scenarios if s not in KEYS]
    if unknown:
        parser.error(
            f"no scenario {unknown[0]}; there are {' '.join((*KEYS, CLIENTS, SILENT))}; "
            f"{CLIENTS} and {SILENT} only alone"
        )
    say(
        f"round trip {recovery.RTT_MS:.0f} ms; seconds from t0 to the first byte; ratio to a cold ssh of the same run"
    )
    wanted = args.scenarios or KEYS
    missed = [measure(SCENARIOS[key], args.runs, args.peers) for key in wanted if key in SCENARIOS]
    others = {
        ATTACH: attach,
        ROAM: roam,
        MOVE: move,
        PORT: port,
        MPTCP: multipath,
        STANDBY: standby,
        TYPE: typed,
        BESIDE: beside,
    }
    missed += [others[key](args.runs) for key in wanted if key in others]
    if not args.scenarios:
        missed += [decisions(args.runs), rest(args.runs)]
    return 1 if any(missed) else 0


def many_hosts(numbers: Sequence[int]) -> bool:
    """Print the times of many hosts on five servers, compared with a shell loop. Report whether a goal was missed."""
    say(
        f"\nhosts on 5 servers, MaxStartups 10:30:100, round trip {scale.RTT_MS:.0f} ms; the loop starts plain ssh"
    )
    say(
        "  hosts   loop  start   move  of the loop  CPU per host  status p95   max  log lines  stop      RSS  refused"
    )
    missed = False
    for number in numbers:
        missed |= _scale_row(scale.measure(number))
    say(f"  {BEHIND_JUMP} hosts on one server behind one jump host:")
    missed |= _scale_row(scale.measure(BEHIND_JUMP, jump=True))
    say(f"  {UNUSED} unused hosts: `status` answers {scale.unused_hosts(UNUSED):.1f} s after the start")
    return missed


def _scale_row(found: scale.Found) -> bool:
    """Print a row of the table, and report whether a goal was missed."""
    answers = sorted(found.status_s)
    ratio, cpu_ms = found.move_s / found.loop_s, 1e3 * found.move_cpu_s / found.hosts
    p95_ms, max_ms = 1e3 * answers[int(0.95 * len(answers))], 1e3 * answers[-1]
    say(
        f"  {found.hosts:>5} {found.loop_s:5.1f}s {found.start_s:5.1f}s {found.move_s:5.1f}s       x{ratio:5.2f} "
        f"{cpu_ms:10.0f} ms  {p95_ms:7.0f} ms {max_ms:5.0f} ms {found.log_lines:6} {found.stop_s:6.2f}s "
        f"{found.rss_mb:6.1f} MB {found.refused:8}"
    )
    return ratio > scale.RATIO_GOAL or found.refused > 0 or found.stop_s > 1


def attach(runs: int) -> bool:
    """Print how soon a terminal is back in its session, and the cost of an attached terminal.

    Report whether a bound was missed.
    """
    say(f"\n{ATTACH}  another network, gap 0: the first byte of tmux at a terminal that stays attached")
    if not attaching.possible():
        say("  not measured: sshd of an ordinary user has no terminals in a namespace; run it as root")
        return False
    cold, ours, median, worst = attaching.measure(runs)
    switches, rss_mb = attaching.idle(60.0)
    row("cold ssh -t … tmux new-session -A", cold, 1.0, None)
    row("trayagent attach", ours, ours / cold, None)
    bound = attaching.BOUND_RTTS
    say(f"  round trips above cold: median {median:+.1f}, worst {worst:+.1f} (bound {bound:+.0f})")
    say(f"  idle for 60 s: {switches} context switches (bound 1); RSS {rss_mb:.1f} MB")
    return median > bound or switches > 1


def move(runs: int) -> bool:
    """Print how soon open sessions and connections answer after a move. Report whether a goal was missed."""
    runs = max(runs, 7)
    say(f"\n{MOVE}  another network, roam = true: what is open answers, relative to a cold ssh")
    slow = False
    for key, gap_s in moving.GAPS_S.items():
        found = moving.measure(runs, gap_s)
        session_s, forwarded_s = statistics.median(found.session_s), statistics.median(found.forwarded_s)
        median, worst = statistics.median(found.ratios), max(found.ratios)
        say(
            f"  {key}, gap {gap_s:.0f} s: session {session_s:.2f} s, -L {forwarded_s:.2f} s; x{median:.2f}, "
            f"worst x{worst:.2f} (goals x{moving.MEDIAN_GOAL:.2f}, x{moving.WORST_GOAL:.2f})"
        )
        slow |= median > moving.MEDIAN_GOAL or worst > moving.WORST_GOAL
    return slow


def port(runs: int) -> bool:
    """Print the same for a host with `roam_port`. Report whether a goal was missed."""
    runs = max(runs, 7)
    say(f"\n{PORT}  another network, roam_port = 60001: what is open answers, relative to a cold ssh")
    slow = False
    for key, gap_s in moving.GAPS_S.items():
        found = moving.measure(runs, gap_s, by_port=True)
        session_s, forwarded_s = statistics.median(found.session_s), statistics.median(found.forwarded_s)
        median, worst = statistics.median(found.ratios), max(found.ratios)
        say(
            f"  {key}, gap {gap_s:.0f} s: session {session_s:.2f} s, -L {forwarded_s:.2f} s; x{median:.2f}, "
            f"worst x{worst:.2f} (goals x{moving.PORT_MEDIAN_GOAL:.2f}, x{moving.PORT_WORST_GOAL:.2f})"
        )
        slow |= median > moving.PORT_MEDIAN_GOAL or worst > moving.PORT_WORST_GOAL
    for line in (False, True):
        for direction in ("down", "up"):
            rates = roaming.throughput(runs, direction, by_port=True, line=line)
            slow |= _is_slow(direction, rates, roaming.PORT_GOAL, line=line)
    keys = roaming.keys_beside_strangers(runs)
    more_ms = statistics.median(keys.roaming) - statistics.median(keys.plain)
    say(
        f"  a key and its echo with 200 silent strangers at the port: {statistics.median(keys.roaming):.2f} ms, "
        f"without {statistics.median(keys.plain):.2f} ms (goal: at most {roaming.STRANGERS_GOAL_MS:.1f} ms more)"
    )
    return slow or more_ms > roaming.STRANGERS_GOAL_MS


def multipath(runs: int) -> bool:
    """Print how soon an open session answers after each move with Multipath TCP. Report whether a goal was missed."""
    runs = max(runs, 7)
    say(
        f"\n{MPTCP}  {mptcp.MOVES} moves with a new address each, MPTCP on both ends, with the dispatcher script"
    )
    found = [mptcp.measure() for _ in range(runs)]
    for move in range(mptcp.MOVES):
        ratios = [one.ratios[move] for one in found]
        session_s = statistics.median(one.session_s[move] for one in found)
        say(
            f"  move {move + 1}: {session_s:.2f} s; x{statistics.median(ratios):.2f}, worst x{max(ratios):.2f}"
        )
    median = statistics.median(statistics.median(one.ratios) for one in found)
    worst = max(max(one.ratios) for one in found)
    say(f"  all: x{median:.2f}, worst x{worst:.2f} (goal x{mptcp.GOAL:.2f}); nothing ended")
    say(f"  logins of the agent in {runs * mptcp.MOVES} moves: {sum(one.logins for one in found)}")
    say("\n  the first connection, beside one of plain TCP, in ms:")
    slow = worst > mptcp.GOAL
    for case in mptcp.CASES:
        added = mptcp.added_ms(case, max(runs, mptcp.PAIRS))
        median, worst = statistics.median(added), max(added)
        say(f"    {case.name:<34} median {median:+.1f}, worst {worst:+.1f} (goal {case.goal_ms:+.0f})")
        slow |= median > case.goal_ms
    return slow


def standby(runs: int) -> bool:
    """Print how soon what is open answers after unplugging, with a standby. Report whether a goal was missed."""
    found = moving.unplug(max(runs, 7))
    say(
        f"\n{STANDBY}  unplugged, standby = true on a second network: what is open answers, relative to a cold ssh"
    )
    session_s, forwarded_s = statistics.median(found.session_s), statistics.median(found.forwarded_s)
    median, worst = statistics.median(found.ratios), max(found.ratios)
    say(
        f"  session {session_s:.3f} s, -L {forwarded_s:.3f} s, cold ssh {statistics.median(found.cold_s):.2f} s; "
        f"x{median:.2f}, worst x{worst:.2f} "
        f"(goals x{moving.STANDBY_MEDIAN_GOAL:.2f}, x{moving.STANDBY_WORST_GOAL:.2f})"
    )
    return median > moving.STANDBY_MEDIAN_GOAL or worst > moving.STANDBY_WORST_GOAL


def beside(runs: int) -> bool:
    """Print how soon tunnels that start again by themselves are back. Report whether the bound was missed."""
    say(f'\n{BESIDE}  supervised tunnels beside an agent with `beside = "end"`, without their own pause')
    missed = False
    for key in ("S1", "S2", "S5"):
        scenario = SCENARIOS[key]
        say(f"  {key}  {scenario.title}")
        for supervised in SUPERVISED:
            needs = supervised.command.needs
            if needs is not None and shutil.which(needs) is None:
                say(f"  {supervised.name:<46} not installed")
                continue
            ratios = []
            for _ in range(runs):
                cold = recovery.cold_seconds(scenario)
                took = recovery.seconds(supervised, scenario)
                ratios.append(float("inf") if took is None else (took - supervised.pause_s) / cold)
            median, worst = statistics.median(ratios), max(ratios)
            say(f"  {supervised.name:<56} x{median:.2f}  worst x{worst:.2f}  (bound x{BESIDE_BOUND:.1f})")
            missed |= median > BESIDE_BOUND
    return missed


def typed(runs: int) -> bool:
    """Print how many `ssh HOST`, started at different times after a move, made their own connection.

    There is no bound.
    """
    say(f"\n{TYPE}  another network: `ssh HOST` is typed so long after the move")
    for step_ms, does_roam in (*((step, False) for step in typing.STEPS_MS), (0, True)):
        found = typing.measure(step_ms, runs, roam=does_roam)
        answer, ready = (
            statistics.median(x) for x in zip(*((f.answered_s, f.connected_s) for f in found), strict=True)
        )
        row_name = f"{step_ms:>4} ms{', roam = true' * does_roam}"
        say(
            f"  {row_name}: {sum(f.beside for f in found)} of {runs} beside the master; "
            f"answer after {answer:.2f} s, new master after {ready:.2f} s"
        )
    return False


def roam(runs: int) -> bool:
    """Print the cost of the two roaming relays. Report whether a goal was missed."""
    runs = max(runs, 7)
    say(
        f"\n{ROAM}  a connection through both relays, beside a plain master (goal x{roaming.THROUGHPUT_GOAL:.2f})"
    )
    slow = False
    for line in (False, True):
        for direction in ("down", "up"):
            found = roaming.throughput(runs, direction, line=line)
            slow |= _is_slow(direction, found, roaming.THROUGHPUT_GOAL, line=line)
    keys = roaming.keystrokes(runs)
    added = [ours - theirs for ours, theirs in zip(keys.roaming, keys.plain, strict=True)]
    say(f"  a key and its echo: median +{statistics.median(added):.2f} ms, worst +{max(added):.2f} ms")
    upload = roaming.keys_during_upload(runs)
    slow_ratio = statistics.median(upload.roaming) / statistics.median(upload.plain)
    slow_ms = statistics.median(upload.roaming)
    say(f"  a key during the own upload on 1 Mbit/s: median {slow_ms:.0f} ms: x{slow_ratio:.2f} (goal x1.00)")
    switches, near_mb, far_mb = roaming.idle(60.0)
    say(f"  near relay, {roaming.HOSTS} idle hosts, 60 s: {switches} context switches; RSS {near_mb:.1f} MB")
    say(f"  far relay: RSS {far_mb:.1f} MB")
    late = statistics.median(added) > roaming.KEY_GOAL_MS or slow_ratio > 1
    missed = slow or late or switches > 0 or near_mb > roaming.RSS_GOAL_MB
    return first_answers(runs) or missed


def _is_slow(direction: str, found: roaming.Throughput, goal: float, *, line: bool) -> bool:
    """Print a throughput beside that of plain ssh. Report whether their ratio misses the goal."""
    rate, cpu, busiest = (pair.ratios for pair in (found.rate, found.cpu_s, found.busiest_s))
    ours, theirs = statistics.median(found.rate.roaming), statistics.median(found.rate.plain)
    where = f"round trip of {roaming.LINE_RTT_MS} ms" if line else "loopback"
    say(
        f"  {direction:<4} {where}: {ours:.0f} MB/s, plain {theirs:.0f}: x{statistics.median(rate):.2f}, "
        f"x{min(rate):.2f} to x{max(rate):.2f} (goal x{goal:.2f}); CPU x{statistics.median(cpu):.2f}, "
        f"busiest process x{statistics.median(busiest):.2f}"
    )
    return statistics.median(rate) < goal


def first_answers(runs: int) -> bool:
    """Print how soon a host that roams answers first. Report whether a goal was missed."""
    say(
        f"\n{ROAM}  the first answer of a host with roam = true, beside roam = false (goal x{first_connection.GOAL})"
    )
    late = False
    for (event, way), found in first_connection.measure(runs).items():
        ours, theirs = statistics.median(found.roaming), statistics.median(found.plain)
        median, worst = statistics.median(found.ratios), max(found.ratios)
        say(
            f"  {way} after {event}: {ours:.2f} s, without roaming {theirs:.2f} s; x{median:.2f}, worst x{worst:.2f}"
        )
        late |= median > first_connection.GOAL
    return late


def decisions(runs: int) -> bool:
    """Print how long a decision takes. Report whether a bound was missed."""
    say("\nfrom the kernel's event to the decision")
    missed = False
    for masters, bound_ms in ((1, 3.0), (100, 20.0)):
        median, worst = decision.measure(masters, max(runs, 10))
        missed |= median > bound_ms
        say(f"  {masters:>3} masters: median {median:.1f} ms, worst {worst:.1f} ms (bound {bound_ms:.0f} ms)")
    return missed


def rest(runs: int) -> bool:
    """Print the cost of an idle agent and of `status`. Report whether a bound was missed."""
    icon_ms, icon_worst_ms, tray_mb = icon.registered_ms(max(runs, 10))
    switches, rss_mb = resting.idle(60.0)
    median, worst = resting.status_ratio(max(runs, 10))
    say("\nat rest, 5 hosts connected, 3 quiet sessions, with a tray")
    say(f"  context switches in 60 s: {switches} (bound 0); RSS {rss_mb:.1f} MB (bound 40)")
    say(f"  `trayagent status --json`: x{median:.2f} of `python -c pass`, worst x{worst:.2f} (bound x3)")
    say(f"  start to registered icon: median {icon_ms:.0f} ms, worst {icon_worst_ms:.0f} ms (bound 400)")
    say(f"  RSS with tray and no host: {tray_mb:.1f} MB")
    return switches > 0 or rss_mb > 40 or median > 3 or icon_ms > 400


def measure(scenario: Scenario, runs: int, peers: bool) -> bool:
    """Print one scenario's rows. Report whether its bound was missed."""
    say(f"\n{scenario.key}  {scenario.title}")
    ratios: list[float] = []
    ours: list[float] = []
    cold: list[float] = []
    for _ in range(runs):
        reference = recovery.cold_seconds(scenario)
        took = recovery.seconds(Trayagent(), scenario)
        cold.append(reference)
        ours.append(took if took is not None else float("inf"))
        ratios.append(ours[-1] / reference)
    median, worst = statistics.median(ratios), max(ratios)
    plain = f"cold ssh -N {'-R' if scenario.remote else '-L'}"
    row(plain, statistics.median(cold), 1.0, max(cold) / statistics.median(cold))
    row("trayagent", statistics.median(ours), median, worst)
    if peers:
        for peer in PEERS:
            if peer.needs is not None and shutil.which(peer.needs) is None:
                say(f"  {peer.name:<46} not installed")
                continue
            took = recovery.seconds(peer, scenario)
            row(peer.name, took, None if took is None else took / statistics.median(cold), None)
    missed = median > scenario.bound
    say(f"  bound x{scenario.bound:.2f}: {'MISSED' if missed else 'kept'}")
    return missed


def row(name: str, seconds: float | None, ratio: float | None, worst: float | None) -> None:
    """Print one row."""
    shown = f"> {recovery.GIVE_UP_S:.0f}" if seconds is None else f"{seconds:.3f}"
    times = "" if ratio is None else f"x{ratio:.2f}"
    most = "" if worst is None else f"worst x{worst:.2f}"
    say(f"  {name:<46} {shown:>8} s  {times:>7}  {most}")


def say(line: str) -> None:
    """Print a line without buffering, because a run takes minutes."""
    print(line, flush=True)  # noqa: T201  # the table is the purpose of this program


if __name__ == "__main__":
    sys.exit(main())
