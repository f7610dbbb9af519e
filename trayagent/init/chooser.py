"""Let the user choose the hosts: with arrow keys, or with plain questions on a dumb terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from msgspec.structs import replace

from trayagent.init.chooser_list import Choosing
from trayagent.init.propose_hosts import HostProposal, Wish, option
from trayagent.init.read_keys import keyboard
from trayagent.presentation.text import clean, is_dumb_terminal
from trayagent.presentation.translation import _, agent_text

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST, _LINE = "\x1b[H", "\x1b[J", "\x1b[K\n"
_CHOSEN, _NORMAL = "\x1b[7m", "\x1b[0m"
_LEAST_COLUMNS, _LEAST_LINES = 30, 6
_ANSWERS: dict[str, Wish] = {"a": "always", "y": "always", "yes": "always", "always": "always", "u": "on-use",
                             "on-use": "on-use", "n": "leave", "no": "leave", "leave": "leave"}  # fmt: skip
_LETTERS: dict[Wish, str] = {"always": "a", "on-use": "u", "leave": "n"}


def choose(hosts: Sequence[HostProposal], env: Mapping[str, str] = os.environ) -> list[HostProposal] | None:
    """Return the hosts as the user changed them, None if the user quit. stdin and stdout must be a terminal."""
    size = _size()
    if is_dumb_terminal(env) or size[0] < _LEAST_COLUMNS or size[1] < _LEAST_LINES:
        return prompt_line_by_line(hosts, sys.stdin, sys.stdout)
    choosing = Choosing(hosts)
    with keyboard(sys.stdin.fileno()) as keys:
        _out(_ENTER)
        try:
            while True:
                _paint(choosing)
                key = keys.key()
                if key == "enter":
                    return choosing.chosen()
                if key == "cancel":
                    return None
                choosing.press(key, _size()[1])
        finally:
            _out(_LEAVE)


def prompt_line_by_line(
    hosts: Sequence[HostProposal], source: TextIO, target: TextIO
) -> list[HostProposal] | None:
    """Ask line by line. An empty answer accepts the proposal. The end of the input or q quits."""
    chosen = []
    target.write(
        _("For each host: a = keep it connected, u = reconnect it if it was up, n = leave it out, q = quit.")
        + "\n"
    )
    for host in hosts:
        words = " ".join(map(option, host.forwards))
        about = f"{host.name} ({', '.join(map(agent_text, host.because))}) {words}".rstrip()
        while True:
            target.write(clean(f"{about} [{_LETTERS[host.wish]}] "))
            target.flush()
            line = source.readline()
            answer = line.strip().lower()
            if not line or answer in {"q", "quit"}:
                target.write("\n")
                return None
            if not answer or answer in _ANSWERS:
                break
            target.write(_("Please answer a, u, n or q.") + "\n")
        chosen.append(replace(host, wish=_ANSWERS.get(answer, host.wish)))
    return chosen


def _paint(choosing: Choosing) -> None:
    lines = choosing.lines(*_size())
    painted = [f"{_CHOSEN}{text}{_NORMAL}" if is_chosen else text for text, is_chosen in lines]
    _out(_HOME + _LINE.join(painted) + "\x1b[K" + _REST)


def _out(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _size() -> tuple[int, int]:
    try:
        found = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return 80, 24
    # A terminal that does not know its size reports 0.
    return found.columns or 80, found.lines or 24
