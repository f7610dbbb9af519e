"""Implement the commands that change something: reconnect, disconnect, pause, resume, stop."""

from __future__ import annotations

import argparse

from trayagent.cli.output import complain, print_line, request
from trayagent.cli.parse_duration import duration
from trayagent.errors import TrayagentError
from trayagent.presentation.draining import carried_words
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, agent_text, ngettext, to_translate

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

ALL = "default: all hosts"
# The text if the agent gives no reason.
_LEFT_OUT = {
    "refused": to_translate("refused"),
    "paused": to_translate("paused"),
    "disconnected": to_translate("disconnected by you"),
}
WITHOUT_PROBLEM = {
    "connected": to_translate("no new connection was made"),
    "connecting": to_translate("not connected yet; the agent tries again"),
}


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    again = commands.add_parser(
        "reconnect",
        help="connect again now",
        description="Connects again now, and returns when the host is connected or the attempt failed. "
        "The agent replaces a living master only when the new one is ready, and keeps it if the new login fails. "
        "If the old master answers, its sessions and forwarded connections continue until they end, and new ones use "
        "the new master. If it does not answer, its sessions end. --if-down does nothing for a host "
        "that is connected or suspended, or whose login was refused.",
    )
    how = again.add_mutually_exclusive_group()
    how.add_argument("--if-down", action="store_true", help="do nothing for a host that is connected")
    how.add_argument(
        "--now", action="store_true", help="end the old connections at once, with all their sessions"
    )
    again.add_argument(
        "hosts", nargs="*", metavar="HOST", help="default: the listed hosts that should be connected"
    )
    again.set_defaults(carry_out=reconnect)

    down = commands.add_parser(
        "disconnect",
        help="disconnect hosts, until you reconnect them",
        description="Disconnects hosts, and ends the sessions of earlier connections that still drain. "
        "They stay disconnected until `reconnect`, even after a restart.",
    )
    down.add_argument("hosts", nargs="+", metavar="HOST")
    down.set_defaults(carry_out=disconnect)

    hold = commands.add_parser(
        "pause",
        help="leave hosts alone for a while",
        description="Leaves hosts alone: the agent ends no master, makes no connection and shows no notification until "
        "`resume`.",
    )
    hold.add_argument("hosts", nargs="*", metavar="HOST", help=ALL)
    hold.add_argument(
        "--for", dest="for_s", type=duration, metavar="TIME", help="resume automatically after 30m, 2h…"
    )
    hold.set_defaults(carry_out=pause)

    go_on = commands.add_parser("resume", help="end a pause", description="Ends a pause.")
    go_on.add_argument("hosts", nargs="*", metavar="HOST", help=ALL)
    go_on.set_defaults(carry_out=resume)

    end = commands.add_parser(
        "stop",
        help="stop the running agent",
        description="Stops the agent. The masters stay as they are. --masters ends those that the agent started, with "
        "their sessions and forwards; masters that you started stay.",
    )
    end.add_argument("--masters", action="store_true", help="also end the masters that the agent started")
    end.set_defaults(carry_out=stop)


def reconnect(args: argparse.Namespace) -> int:
    """Reconnect hosts, and print the result for each; return 1 if a host failed."""
    # An agent of an earlier version does not know these arguments.
    only = {"if_down": True} if args.if_down else {"now": True} if args.now else {}
    answer = request("reconnect", None, hosts=args.hosts, **only)
    outcomes = answer["hosts"]
    if not outcomes:
        print_line(_("Nothing to reconnect."))
    _print_left_out(answer.get("left_out", {}))
    status = 0
    for outcome in outcomes:
        problem, name, resume = outcome["problem"], clean(outcome["name"]), outcome.get("resume")
        if outcome.get("kept"):
            print_line(_("{host}: connected, left as it is").format(host=name))
        elif outcome["state"] == "connected" and outcome.get("replaced", True):
            took_ms = outcome.get("took_ms")
            line = _("{host}: connected").format(host=name)
            if took_ms is not None:
                line = _("{host}: connected in {time} ms").format(host=name, time=f"{took_ms:.0f}")
            line += _sessions(outcome)
            if resume:
                line += "; " + _("still paused. To end the pause: {command}").format(command=clean(resume))
            print_line(line)
        else:
            without = WITHOUT_PROBLEM.get(outcome["state"])
            title = agent_text(problem["title"]) if problem else _(without) if without else outcome["state"]
            if outcome["state"] == "connected":
                title = _("{problem} (the old connection is kept)").format(problem=title)
            hint = (problem["hint"] if problem else "") or (f"Then: {resume}" if resume else "")
            complain(TrayagentError(f"{name}: {title}", hint=hint))
            status = 1
    return status


def _print_left_out(left_out: dict[str, str]) -> None:
    """Print the hosts that were left out, by reason. An older agent reports none."""
    for reason, words in _LEFT_OUT.items():
        names = [clean(name) for name, why in left_out.items() if why == reason]
        if names:
            line = ngettext(
                "Left out: {names} was {state}. To try anyway: trayagent reconnect {hosts}",
                "Left out: {names} were {state}. To try anyway: trayagent reconnect {hosts}",
                len(names),
            )
            print_line(line.format(names=", ".join(names), state=_(words), hosts=" ".join(names)))


def _sessions(outcome: dict[str, Any]) -> str:
    """Return words for the sessions that ended with the old connection, or continue through it."""
    count = outcome.get("sessions_ended")
    if count:
        ended = ngettext(
            "{count} session through the old connection ended",
            "{count} sessions through the old connection ended",
            count,
        )
        return "; " + ended.format(count=count)
    sessions, connections = outcome.get("sessions_kept", 0), outcome.get("connections_kept", 0)
    if not sessions and not connections:
        return ""
    kept = ngettext(
        "{sessions} continues through the old connection",
        "{sessions} continue through the old connection",
        sessions + connections,
    )
    return "; " + kept.format(sessions=carried_words(sessions, connections))


def disconnect(args: argparse.Namespace) -> int:
    """Disconnect hosts."""
    return _change("disconnect", _("Disconnected: {hosts}"), hosts=args.hosts)


def pause(args: argparse.Namespace) -> int:
    """Pause hosts, or everything."""
    done = _("Paused: {hosts}")
    if args.for_s is not None:
        from trayagent.presentation import times

        now = times.now()
        until = times.clock(times.rfc3339(times.before(-args.for_s)), now, exact=True)
        done = _("Paused until {time}: {hosts}").format(time=until, hosts="{hosts}")
    return _change("pause", done, hosts=args.hosts, for_s=args.for_s)


def resume(args: argparse.Namespace) -> int:
    """Resume hosts, or everything."""
    return _change("resume", _("Resumed: {hosts}"), hosts=args.hosts)


def stop(args: argparse.Namespace) -> int:
    """Stop the agent."""
    if not args.masters:  # an agent of an earlier version does not know the argument
        request("stop")
        print_line(_("The agent stops; the masters stay."))
        return 0
    answer = request("stop", None, masters=True)
    count, left = answer.get("ended", 0), answer.get("left", [])
    line = ngettext(
        "The agent stops; it ended {count} master.", "The agent stops; it ended {count} masters.", count
    )
    print_line(line.format(count=count))
    if left:
        pids = " ".join(map(str, left))
        complain(TrayagentError(f"Still running: {pids}.", hint=f"To end them: kill {pids}"))
        return 1
    return 0


def _change(op: str, done: str, **args: Any) -> int:
    request(op, **args)
    print_line(done.format(hosts=", ".join(map(clean, args["hosts"])) or _("everything")))
    return 0
