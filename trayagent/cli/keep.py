"""Implement `keep`: write forwards that the user gave to ssh by hand into the configuration."""

from __future__ import annotations

import argparse

from trayagent.cli.output import print_line, request
from trayagent.errors import TrayagentError
from trayagent.presentation.by_hand import unknown_lines
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from typing import Any

    from trayagent.config.file_paths import FilePaths

    Added = dict[Any, list[str]]

_FLAGS = {"local": "-L", "remote": "-R", "dynamic": "-D"}


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "keep",
        help="write forwards into the configuration",
        description="Writes forwards into the configuration file, in the table of the host, and does not change the "
        "rest of the file. Without an option it writes the forwards that you gave to ssh by hand. A "
        'host without a table gets one with connect = "on-use".',
    )
    for kind, flag in _FLAGS.items():
        parser.add_argument(
            flag,
            f"--{kind}",
            action="append",
            default=[],
            metavar="SPEC",
            help=f"a forward as ssh {flag} takes it",
        )
    parser.add_argument("host", metavar="HOST", help="the name that you give to ssh")
    parser.set_defaults(carry_out=keep)


def keep(args: argparse.Namespace) -> int:
    """Write the forwards, and print what was written."""
    from trayagent.config.file_paths import find
    from trayagent.config.keep_forwards import keep_forwards

    file_paths = find(args.config)
    added: Added = {kind: list(dict.fromkeys(getattr(args, kind))) for kind in _FLAGS if getattr(args, kind)}
    if added:
        _require_known(args.host, file_paths)
    views = [] if added else request("status", hosts=[args.host])["hosts"]
    added = added or _given(views)
    if not added:
        raise _nothing(args.host, views)
    path = file_paths.config_file
    # Another name of a listed host's connection: its forwards are those of the listed host.
    host = views[0]["name"] if len(views) == 1 and views[0]["listed"] else args.host
    changed = keep_forwards(path, host, added)
    words = ", ".join(f"{_FLAGS[kind]} {spec}" for kind, specs in added.items() for spec in specs)
    wrote = _("{host}: added {forwards} in {file}")
    if not changed:
        wrote = _("{host}: already there: {forwards} in {file}")
    print_line(clean(wrote.format(host=host, forwards=words, file=path)))
    for line in (line for view in views for line in unknown_lines(view)):
        print_line(line)
    return 0


def _require_known(name: str, file_paths: FilePaths) -> None:
    """Raise TrayagentError if neither the configuration nor ssh_config nor the agent knows the host."""
    from difflib import get_close_matches

    from trayagent.config.load_file import load
    from trayagent.dotted_key import dotted
    from trayagent.ssh.ssh_config_text import aliases, host_patterns, is_named

    hosts = load(file_paths.config_file).hosts
    roots = file_paths.ssh_config_files
    if name in hosts or is_named(host_patterns(roots), name) or _has_agent(name):
        return
    known = [*hosts, *(alias for root in roots for alias in aliases(root))]
    close = get_close_matches(name, known, 1)
    hint = f"If it is right, list the host in the configuration first: [{dotted('hosts', name)}]"
    raise TrayagentError(
        f"Neither ssh_config nor the configuration has a host {name!r}.",
        code="unknown-host",
        hint=f"Did you mean {close[0]}?" if close else hint,
    )


def _has_agent(name: str) -> bool:
    """Report whether a running agent has the host, because it found a master of that name."""
    try:
        return bool(request("status", hosts=[name])["hosts"])
    except TrayagentError:
        return False


def _given(views: list[dict[str, Any]]) -> Added:
    """Return the forwards that the user gave to ssh by hand, by their kind, from the agent's views of a host."""
    found: Added = {}
    for host in views:
        for forward in host["forwards"]:
            if forward.get("by_hand"):
                found.setdefault(forward["kind"], []).append(forward["spec"])
    return found


def _nothing(host: str, views: list[dict[str, Any]]) -> TrayagentError:
    """Return why there is no forward to write: the user gave none, or the agent cannot read their targets."""
    keys = ("unknown_listens", "ended_listens")  # an older agent reports neither
    listens = [listen for view in views for key in keys for listen in view.get(key, ())]
    listed = ", ".join(listens)
    title = f"You gave no forwards of {host} by hand."
    hint = f"Give one: trayagent keep {host} -L 8080:localhost:80"
    if listens:
        port = listens[0].rpartition(":")[2]
        title = f"The agent cannot read the targets of your forwards of {host}: {listed}"
        hint = f"With its target: trayagent keep {host} -L {port}:TARGET:PORT, or -D {port} for a SOCKS proxy"
    return TrayagentError(title, code="nothing-to-keep", hint=hint)
