"""The state of the list from which the user chooses: selected row, settings, and visible part; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size

from trayagent.init.propose_hosts import HostProposal, Wish, option
from trayagent.init.read_keys import Key
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, agent_text, ngettext, to_translate

_NEXT: dict[Wish, Wish] = {"always": "on-use", "on-use": "leave", "leave": "always"}
_WORDS: dict[Wish, str] = {
    "always": to_translate("keep connected"),
    "on-use": to_translate("when used"),
    "leave": to_translate("leave out"),
}
_SIGNS: dict[Wish, str] = {"always": "[x]", "on-use": "[~]", "leave": "[ ]"}
_TITLE = to_translate("Which hosts should trayagent keep connected?")
_HELP = to_translate("arrows: move   space: change   enter: write   q: leave without writing")
_ROUND = 4  # lines around the list: title, help, and two empty lines


class Row(Struct, frozen=True):
    """A line of the list: a host, or one of its forwards. `host` and `forward` are indexes."""

    host: int
    forward: int | None = None


class Choosing:
    """The state of the list: the hosts with the user's changes, and the forwards that the user switched off."""

    def __init__(self, hosts: Sequence[HostProposal]) -> None:
        self._hosts = list(hosts)
        self._dropped: set[Row] = set()
        self._rows = [
            row
            for at, host in enumerate(hosts)
            for row in (Row(at), *(Row(at, n) for n in range(len(host.forwards))))
        ]
        self._at = 0
        self._top = 0

    def press(self, key: Key, height: int) -> None:
        """Handle a key. `height` is the number of lines of the terminal."""
        page = max(1, height - _ROUND - 1)
        moves = {
            "up": -1,
            "down": 1,
            "page-up": -page,
            "page-down": page,
            "home": -len(self._rows),
            "end": len(self._rows),
        }
        if key in moves:
            self._at = max(0, min(len(self._rows) - 1, self._at + moves[key]))
        elif key == "space":
            self._change(self._rows[self._at])

    def _change(self, row: Row) -> None:
        if row.forward is None:
            host = self._hosts[row.host]
            self._hosts[row.host] = replace(host, wish=_NEXT[host.wish])
        else:
            self._dropped ^= {row}

    def chosen(self) -> list[HostProposal]:
        """Return the proposals with the user's changes."""
        return [
            replace(
                host,
                forwards=tuple(f for n, f in enumerate(host.forwards) if Row(at, n) not in self._dropped),
            )
            for at, host in enumerate(self._hosts)
        ]

    def lines(self, width: int, height: int) -> Iterator[tuple[str, bool]]:
        """Yield each visible line, cut to the terminal's width, and whether it is selected."""
        room = max(1, height - _ROUND)
        self._top = min(max(self._top, self._at - room + 1), self._at)
        self._top = max(0, min(self._top, len(self._rows) - room))
        seen = range(self._top, min(self._top + room, len(self._rows)))
        yield _cut(_(_TITLE), width), False
        yield "", False
        for at in seen:
            yield _cut(self._row(self._rows[at]), width), at == self._at
        more = len(self._rows) - len(seen)
        left = ngettext("({count} more line)", "({count} more lines)", more).format(count=more)
        yield (_cut(left, width) if more else ""), False
        yield _cut(_(_HELP), width), False

    def _row(self, row: Row) -> str:
        host = self._hosts[row.host]
        if row.forward is None:
            new = _("  (new in ssh_config)") if host.lines else ""
            because = clean(", ".join(map(agent_text, host.because)))
            return f"{_SIGNS[host.wish]} {clean(host.name)}  {_(_WORDS[host.wish])}{new}  {because}"
        on = host.listed and row not in self._dropped
        return f"      {'[x]' if on else '[ ]'} {clean(option(host.forwards[row.forward]))}"


def _cut(text: str, width: int) -> str:
    """Cut a line to the terminal's width. Wide characters count twice."""
    return text if cell_len(text) < width else set_cell_size(text, max(1, width - 1)).rstrip()
