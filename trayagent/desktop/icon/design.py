"""The design of the icon: two ends and what is between them; pure.

Theory of operation. A picture is a list of filled shapes that do not overlap, except where a bar joins an end. Both
Pillow and SVG can draw exactly these shapes, so `assets/icons` and the tray show the same. Desktops change the colour
of filled areas only, so the design has no strokes.

All states have the same motif: one end at the bottom left, another at the top right. A sign between the ends shows the
state. States differ in shape, so they need no colour. Only "needs-you" has a second tone.

Coordinates are pixels from the top left corner. The motif is drawn on a square of 16 units with a margin of one unit.
Upright signs have their edges on whole pixels at each size; otherwise an icon of 16 pixels would be blurred.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from trayagent.presentation.summary import Overall

Point = tuple[float, float]
Tone = Literal["plain", "warning"]
"""The colour of a shape: the panel's own text colour, or the one that a theme uses for warnings."""

UNITS = 16
WALL = 1.4
"""Thickness of a hollow end, in units."""


class Disc(Struct, frozen=True):
    """A filled circle; `hole` is the radius of the empty circle inside it."""

    centre: Point
    radius: float
    hole: float = 0.0
    tone: Tone = "plain"

    def grown(self, by: float) -> Disc:
        """Return this shape with an edge that is `by` pixels further out."""
        return replace(self, radius=self.radius + by, hole=max(0.0, self.hole - by))


class Bar(Struct, frozen=True):
    """A line with round ends. `start` and `end` are the centres of the round ends."""

    start: Point
    end: Point
    width: float
    tone: Tone = "plain"

    def grown(self, by: float) -> Bar:
        """Return this shape with an edge that is `by` pixels further out."""
        return replace(self, width=self.width + 2 * by)


class Arc(Struct, frozen=True):
    """A part of a ring with round ends. Angles are in degrees, clockwise from the right, as the y axis points down."""

    centre: Point
    radius: float
    start: float
    end: float
    width: float
    tone: Tone = "plain"

    def grown(self, by: float) -> Arc:
        """Return this shape with an edge that is `by` pixels further out."""
        return replace(self, width=self.width + 2 * by)


Shape = Disc | Bar | Arc


def shapes(overall: Overall, size: int) -> tuple[Shape, ...]:
    """Return the shapes of a state's picture in a square of `size` pixels."""
    grid = Grid(size)
    match overall:
        case "all-connected":
            return (*_ends(grid, 3.2), _link(grid, 0.25, 0.75))
        case "some-connected":
            return (*_ends(grid, 3.2, hollow=(False, True)), _link(grid, 0.25, 0.46))
        case "working":
            return (*_ends(grid, 2.6), *_turning(grid))
        case "offline":
            return tuple(_ends(grid, 3.2, hollow=(True, True)))
        case "needs-you":
            return (*_small_link(grid, (3.4, 12.6), (7.2, 3.4), 2.4), *_exclamation(grid))
        case "paused":
            return (*_small_link(grid, (3.6, 10.4), (10.4, 3.6), 2.6), *_pause(grid))
        case "nothing-to-do":
            return (*_ends(grid, 2.9, hollow=(True, True)), _link(grid, 0.37, 0.63))


class Grid(Struct, frozen=True):
    """Converts units of the design to pixels, for an icon of `size` by `size` pixels."""

    size: int

    @property
    def unit(self) -> float:
        """Return one of the motif's units in pixels."""
        return self.size / UNITS

    def whole(self, units: float) -> int:
        """Return a length of so many units in whole pixels, at least one."""
        return max(1, round(units * self.unit))

    def end(self, radius: float, *, top: bool) -> Point:
        """Return the centre of an end in pixels. `radius` is in units. The end is one unit away from the edges."""
        near = (1 + radius) * self.unit
        return (self.size - near, near) if top else (near, self.size - near)


def _ends(grid: Grid, radius: float, hollow: tuple[bool, bool] = (False, False)) -> Iterator[Disc]:
    """Yield both ends, the lower one first. A hollow end means that this side is not connected."""
    for top, empty in zip((False, True), hollow, strict=True):
        hole = (radius - WALL) * grid.unit if empty else 0.0
        yield Disc(grid.end(radius, top=top), radius * grid.unit, hole)


def _link(grid: Grid, start: float, end: float) -> Bar:
    """Return a part of the line between the ends. `start` and `end` are shares (0 to 1) of the diagonal."""
    return Bar(_along(grid, start), _along(grid, end), 2.4 * grid.unit)


def _along(grid: Grid, share: float) -> Point:
    return (share * grid.size, (1 - share) * grid.size)


def _small_link(grid: Grid, low: Point, high: Point, radius: float) -> Iterator[Shape]:
    """Yield two connected ends beside a sign. `low` and `high` are their centres, `radius` their radius, in units."""
    one, other = ((x * grid.unit, y * grid.unit) for x, y in (low, high))
    yield Bar(one, other, 2 * grid.unit)
    yield Disc(one, radius * grid.unit)
    yield Disc(other, radius * grid.unit)


def _turning(grid: Grid) -> Iterator[Arc]:
    """Yield two arcs that lead from each end towards the other one, as in a circular arrow."""
    middle = (grid.size / 2, grid.size / 2)
    for start in (-165.0, 15.0):
        yield Arc(middle, 5.6 * grid.unit, start, start + 75, 2 * grid.unit)


def _exclamation(grid: Grid) -> Iterator[Shape]:
    """Yield an exclamation mark at the right, as high as the picture."""
    width, edge = grid.whole(3.6), grid.whole(1)
    middle, low = grid.size - edge - width / 2, grid.size - edge
    foot = low - width - grid.whole(1)
    yield Bar((middle, edge + width / 2), (middle, foot - width / 2), width, "warning")
    yield Disc((middle, low - width / 2), width / 2, tone="warning")


def _pause(grid: Grid) -> Iterator[Bar]:
    """Yield two upright bars in the lower right."""
    width, gap = grid.whole(2), grid.whole(2)
    right, low = grid.size - grid.whole(1), grid.size - grid.whole(1)
    for x in (right - width / 2, right - width - gap - width / 2):
        yield Bar((x, low - grid.whole(7) + width / 2), (x, low - width / 2), width)


def arc_points(arc: Arc) -> Iterator[Point]:
    """Yield points on the middle line of an arc."""
    steps = math.ceil(abs(arc.end - arc.start) / 5)
    for step in range(steps + 1):
        yield on_circle(arc.centre, arc.radius, arc.start + (arc.end - arc.start) * step / steps)


def on_circle(centre: Point, radius: float, angle: float) -> Point:
    """Return the point of a circle at this angle: degrees, clockwise from the right."""
    turn = math.radians(angle)
    return (centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn))
