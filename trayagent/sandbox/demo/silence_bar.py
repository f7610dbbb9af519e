"""Bars and texts that show how long a forward was silent and how much of a file has arrived. No side effects."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

NAME_COLUMNS = 11
# The label after a bar: "12.3 s, back", "12.3 s, not a byte".
LABEL_COLUMNS = 20
PERCENT_COLUMNS = 6  # " 100 %"


@dataclass(frozen=True, slots=True)
class Lane:
    """One forward: how many seconds it has been silent, or was until it answered."""

    name: str
    silent_s: float
    answered: bool

    def line(self, scale_s: float, columns: int) -> Text:
        """Return the lane in that many columns. A bar of full length stands for `scale_s` seconds."""
        room = max(4, columns - 2 - NAME_COLUMNS - LABEL_COLUMNS)
        bar = max(1, min(room, round(self.silent_s / scale_s * room)))
        style = "green" if self.answered else "red" if self.silent_s > 1 else "yellow"
        line = Text(f"  {self.name:<{NAME_COLUMNS}}")
        line.append("━" * (bar - 1) + ("━" if self.answered else "▶"), style=style)
        line.append(
            f" {self.silent_s:.2f} s, back" if self.answered else f" {self.silent_s:.1f} s, not a byte"
        )
        return line

    def words(self) -> Text:
        """Return the lane as text without a bar."""
        line = Text(f"  {self.name:<{NAME_COLUMNS}}")
        if self.answered:
            return line.append(f"answered {self.silent_s:.1f} s after the change in act 1", style="green")
        return line.append(f"since act 1 not a byte: {self.silent_s:.1f} s", style="red")


@dataclass(frozen=True, slots=True)
class Progress:
    """One transfer: how much of its file has arrived, from 0 to 1."""

    name: str
    share: float

    def line(self, columns: int) -> Text:
        """Return the progress in that many columns."""
        room = max(4, columns - 2 - NAME_COLUMNS - PERCENT_COLUMNS)
        bar = max(1, min(room, round(self.share * room)))
        whole = self.share >= 1
        line = Text(f"  {self.name:<{NAME_COLUMNS}}")
        line.append("━" * (bar - 1) + ("━" if whole else "▶"), style="green" if whole else "yellow")
        return line.append(f" {100 * self.share:.0f} %")
