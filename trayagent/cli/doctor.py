"""Implement `doctor`: report what could stop trayagent from working here, and how to fix it; needs no agent."""

from __future__ import annotations

import argparse
import json

from trayagent import __version__
from trayagent.cli.output import print_line

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

SCHEMA = 1
JSON_SHAPE = (
    '{"schema": 1, "version": TEXT, "ok": BOOL, "counts": {"ok": N, "advice": N, '
    '"problem": N}, "findings": [{"topic": TEXT, "level": "ok"|"advice"|"problem", "code": TEXT, '
    '"host": TEXT|null, "title": TEXT, "why": TEXT, "remedy": TEXT, "lines": [TEXT…]}…]}.'
)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "doctor",
        help="report what does not work, and how to fix it",
        description="Checks everything that the agent needs: ssh, control paths, forwards, keys, host keys, ports, "
        "the servers of living masters, tray, notifications, VPNs, files. It changes nothing, makes no login, and "
        "takes less than 10 s. It also works without a running agent.",
        epilog=f"The shape of --json:\n{JSON_SHAPE}\n"
        "`lines` are commands to type or lines of a file, word for word; `ok` is whether there is no problem.\n"
        "Exit status: 1 if something stops the agent from working, else 0.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help="check this configuration file"
    )
    parser.set_defaults(carry_out=doctor)


def doctor(args: argparse.Namespace) -> int:
    """Print the findings; return 1 if one of them is a problem."""
    import asyncio

    from trayagent.config import file_paths
    from trayagent.doctor.run_checks import examine

    results = asyncio.run(examine(file_paths.find(args.config)))
    findings = [finding for result in results for finding in result.as_json()]
    levels = [finding["level"] for finding in findings]
    counts = {level: levels.count(level) for level in ("ok", "advice", "problem")}
    well = not counts["problem"]
    if args.json:
        report = {
            "schema": SCHEMA,
            "version": __version__,
            "ok": well,
            "counts": counts,
            "findings": findings,
        }
        print_line(json.dumps(report, indent=2))
    else:
        from trayagent.cli import console as people
        from trayagent.cli import doctor_text

        people.print_report(lambda width, signs: doctor_text.lines(findings, width, signs))
    return 0 if well else 1
