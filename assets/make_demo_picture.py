"""Runs `trayagent demo` and saves its real output as a picture: docs/pictures/demo.svg, hostile.svg or roaming.svg.

Usage: python assets/make_demo_picture.py [--hostile | --roam] [FILE]
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from trayagent.errors import TrayagentError
from trayagent.sandbox.demo import play, play_hostile, play_roaming
from trayagent.sandbox.demo.screen import COLUMNS, Screen

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
RTT_MS = 50.0

# Background, foreground, then black, red, green, yellow, blue, magenta, cyan and white. Each colour has a contrast of
# at least 4.5 to the background, also when it is dimmed.
THEME = TerminalTheme(
    (22, 27, 34),
    (222, 228, 234),
    [
        (72, 79, 88),
        (255, 123, 114),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (118, 208, 220),
        (222, 228, 234),
    ],
)

# rich's own frame loads a font from the network, but a picture in a README must be self-contained. Every text states
# its width, so that any monospaced font fits.
# rich's frame would also cut the last line below its letters.
FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" role="img" xmlns="http://www.w3.org/2000/svg">
  <title>The output of COMMAND</title>
  <style>
    .{unique_id}-matrix, .{unique_id}-command {{
      font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
      font-size: {char_height}px;
      line-height: {line_height}px;
      white-space: pre;
    }}
    {styles}
  </style>
  <defs>
    {lines}
  </defs>
  <rect width="{width}" height="{height}" rx="10" fill="#161b22"/>
  <text class="{unique_id}-command" x="{terminal_x}" y="34" fill="#76d0dc">$ COMMAND</text>
  <g transform="translate({terminal_x}, {terminal_y})">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
  </g>
</svg>
"""


# Some programs remove leading spaces of a text. So an indented text starts further to the right instead.
INDENTED = re.compile(
    r'x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="(?P<length>[\d.]+)"(?P<rest>[^>]*)>(?P<spaces>(?:&#160;)+)'
)
CHARACTER_WIDTH = 20 * 0.61  # as in rich


def unindent(found: re.Match[str]) -> str:
    """Return the start of a text without its spaces, at the same position."""
    indent = found["spaces"].count(";") * CHARACTER_WIDTH
    x, length = float(found["x"]) + indent, float(found["length"]) - indent
    return f'x="{x:.1f}" y="{found["y"]}" textLength="{length:.1f}"{found["rest"]}>'


def main() -> int:
    """Run the demo, and write the picture only if the demo succeeded."""
    parser = argparse.ArgumentParser(description="Save the real output of trayagent demo as a picture.")
    parser.add_argument("--hostile", action="store_true", help="the lying café")
    parser.add_argument("--roam", action="store_true", help="the session that survives")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: in docs/pictures")
    args = parser.parse_args()
    name, act, command = ("demo", play, "trayagent demo")
    if args.hostile:
        name, act, command = ("hostile", play_hostile, "trayagent demo --hostile")
    elif args.roam:
        name, act, command = ("roaming", play_roaming, "trayagent demo --roam")
    target = args.file or PICTURES / f"{name}.svg"
    console = Console(
        record=True,
        file=io.StringIO(),
        width=COLUMNS,
        force_terminal=True,
        color_system="standard",
        highlight=False,
        markup=False,
        emoji=False,
    )
    try:
        status = act(RTT_MS, Screen(console, moving=False))
    except TrayagentError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if status == 0:
        picture = console.export_svg(
            theme=THEME, code_format=FRAME.replace("COMMAND", command), unique_id=name
        )
        target.write_text(INDENTED.sub(unindent, picture), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
