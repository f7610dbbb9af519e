"""Implement `demo`: show trayagent in a sandbox; needs no agent, no configuration and no network."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

RTT_MS = 50.0
RTT_MS_MOST = 500.0


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo",
        help="watch trayagent work in a sandbox",
        description="Builds two networks, a laptop and a real sshd inside this machine. It changes the network under "
        "the real agent and under a plain ssh, and shows what each of them does and when. Takes about 15 s and needs "
        "no root and no configuration. It changes nothing outside the sandbox and removes the sandbox at the end.",
    )
    parser.add_argument(
        "--rtt",
        type=_milliseconds,
        default=RTT_MS,
        metavar="MS",
        help=f"round trip between laptop and server, up to {RTT_MS_MOST:g} (default: {RTT_MS:g})",
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--hostile",
        action="store_true",
        help="show a hostile network instead: its gateway impersonates the server, and no connection is lost",
    )
    other.add_argument(
        "--roam",
        action="store_true",
        help="show a session that survives instead: an rsync continues through two changes of network (needs rsync)",
    )
    parser.set_defaults(carry_out=demo)


def demo(args: argparse.Namespace) -> int:
    """Run the demo, and return its exit status: 1 if the demo failed to show what it should show."""
    import signal

    from trayagent.sandbox.demo import play, play_hostile, play_roaming

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    if args.roam:
        return play_roaming(args.rtt)
    return play_hostile(args.rtt) if args.hostile else play(args.rtt)


def _leave(number: int, _frame: object) -> None:
    """Clean up as after Ctrl-C: restore the cursor and remove the sandbox."""
    raise SystemExit(128 + number)


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= RTT_MS_MOST:  # false for nan, too
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {RTT_MS_MOST:g}")
    return value
