"""Implement `init`: write a first configuration from what keeps ssh connected now; needs no agent."""

from __future__ import annotations

import argparse
import sys

from trayagent.cli.output import complain, print_line
from trayagent.errors import TrayagentError
from trayagent.presentation.text import clean, is_dumb_terminal
from trayagent.presentation.translation import _, agent_text, ngettext

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TextIO

    from trayagent.init.propose_hosts import HostProposal
    from trayagent.init.survey import Survey

SLOW_S = 1.0
"""The time in seconds after which the user sees what is being read."""
EVERY_S = 0.1


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "init",
        help="write a first configuration",
        description="Reads ~/.ssh/config, running masters, autossh, systemd units, LaunchAgents, crontabs and "
        "shell aliases. It proposes which hosts to keep connected and with which forwards, asks you, and writes the "
        "configuration. It never overwrites an existing one and changes nothing else.",
    )
    parser.add_argument("--yes", action="store_true", help="accept the proposal without asking")
    parser.add_argument(
        "--print", dest="only_show", action="store_true", help="print the configuration and write nothing"
    )
    parser.set_defaults(carry_out=init)


def init(args: argparse.Namespace) -> int:
    """Survey the machine, propose hosts, ask the user, write the file, and list what to switch off now."""
    import asyncio
    import signal

    from trayagent.config import file_paths
    from trayagent.init import found_on_machine as found
    from trayagent.init import render_config as rendered
    from trayagent.init import write_config as written
    from trayagent.init.survey import survey

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    at = file_paths.find(args.config)
    asks = not args.yes and sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    shows = args.only_show or not (args.yes or asks)
    if not args.only_show:
        written.refuse_existing(at.config_file)
    progress = _Progress(sys.stderr)
    seen = asyncio.run(survey(at, found.this_machine(), progress.progress))
    progress.end()
    if seen.refused is not None:
        raise TrayagentError(
            f"ssh accepts none of the hosts: {seen.refused.title}",
            code="config-error",
            hint="Fix that, then run trayagent init again. Nothing was written.",
        )
    if shows:
        print_line(rendered.render(seen.hosts).rstrip("\n"))
        _report(seen, sys.stderr)
        if not args.only_show:
            hint = "Write it: trayagent init --yes, or run trayagent init in a terminal."
            complain(TrayagentError("Nothing was written: init needs a terminal to ask you.", hint=hint))
        return 0
    hosts = seen.hosts
    if asks and hosts:
        from trayagent.init import chooser

        chosen = chooser.choose(hosts)
        if chosen is None:
            print_line(_("Nothing was written."))
            return 1
        hosts = chosen
    written.write(at.config_file, rendered.render(hosts))
    listed = [host for host in hosts if host.listed]
    count = sum(len(host.forwards) for host in listed)
    wrote = _("Wrote {file}: {hosts}, {forwards}.").format(
        file=clean(str(at.config_file)),
        hosts=ngettext("{count} host", "{count} hosts", len(listed)).format(count=len(listed)),
        forwards=ngettext("{count} forward", "{count} forwards", count).format(count=count),
    )
    print_line(wrote)
    _report(seen, sys.stdout, frozenset(host.name for host in listed))
    print_line("\n" + _("Start the agent: trayagent run (and at each login: trayagent install)"))
    return 0


def _report(seen: Survey, stream: TextIO, listed: frozenset[str] | None = None) -> None:
    """Print what the user has to do or should know. `listed`: the accepted hosts; None: as proposed."""
    from trayagent.init.render_config import block

    names = frozenset(host.name for host in seen.hosts if host.listed) if listed is None else listed
    lines = [*_smallest_step(seen)]
    for host in seen.hosts:
        if host.lines and host.name in names:
            new = _("ssh does not know {host} yet. Put this into ~/.ssh/config, before its first Host line:")
            lines += ["", new.format(host=host.name)]
            lines += [f"    {line}" for line in block(host.lines)]
        if host.more and host.name in names:
            more = _("If you still want it, put this into ~/.ssh/config under Host {host}:")
            lines += ["", more.format(host=host.name)]
            lines += [f"    {line}" for line in host.more]
    needless = [(where, how) for name, where, how in seen.switch_off if name in names]
    if needless:
        lines += ["", _("Switch these off now, because two programs cannot hold the same port:")]
        lines += [f"    {agent_text(where)}: {agent_text(how)}" for where, how in dict.fromkeys(needless)]
    left = [host for host in seen.hosts if host.name not in names]
    if left:
        lines += ["", _("Left out:")]
        lines += [
            f"    {host.name} ({', '.join(map(agent_text, host.because))}): {_why_left(host)}"
            for host in left
        ]
    if seen.explained:
        lines += ["", _("Not needed any more:")]
        lines += [f"    {what}: {agent_text(why)}" for what, why in seen.explained]
    if seen.skipped:
        lines += ["", _("Skipped:")]
        lines += [f"    {agent_text(one.where)}: {agent_text(one.why)}" for one in seen.skipped]
    if seen.others:
        others = ngettext(
            "Not listed: {count} other host of ssh_config. The agent still adopts its masters.",
            "Not listed: {count} other hosts of ssh_config. The agent still adopts their masters.",
            seen.others,
        )
        lines += ["", others.format(count=seen.others)]
    for line in lines:
        _write(stream, clean(line))


def _smallest_step(seen: Survey) -> Iterator[str]:
    """Yield how to keep the programs that were found, and what the agent then does for them."""
    if not seen.restarts:
        return
    yield ""
    yield _("The smallest step keeps what you have. Write only this into the configuration, without a host:")
    yield "    [agent]"
    yield '    beside = "end"'
    yield _(
        "Then the agent only ends an ssh that a change of network made stale, so that it is started again."
    )


def _why_left(host: HostProposal) -> str:
    if host.listed:
        return _("by your choice")
    return agent_text(host.clash) or _("nothing starts it")


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")


def _leave(number: int, _frame: object) -> None:
    """Exit as after Ctrl-C, so that the terminal is restored."""
    raise SystemExit(128 + number)


class _Progress:
    """Shows on one line of the terminal what is being read, once the survey has taken SLOW_S.

    A dumb terminal, or another stream, gets only one step, without control sequences.
    """

    def __init__(self, stream: TextIO) -> None:
        import os
        import time

        self._clock = time.monotonic
        self._stream = stream
        self._repaints = stream.isatty() and not is_dumb_terminal(os.environ)
        self._next = self._clock() + SLOW_S
        self._shown = False

    def progress(self, what: str) -> None:
        """Show the step, but not more often than every EVERY_S."""
        now = self._clock()
        if now < self._next or (self._shown and not self._repaints):
            return
        self._next, self._shown = now + EVERY_S, True
        text = _("Reading {what} ...").format(what=clean(_(what)))
        self._stream.write(f"\r\x1b[K{text[:78]}" if self._repaints else text + "\n")
        self._stream.flush()

    def end(self) -> None:
        """Remove the line."""
        if self._shown and self._repaints:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
