"""The icon's pixels, painted in advance, so that a running agent does not load Pillow.

`pixmaps.bin` holds the compressed ARGB32 pixels of each state in each size, in the order of OVERALLS and SIZES.
`python -m trayagent.desktop.icon.painted_icons` writes the file. A test fails if the file is outdated.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path

from trayagent.presentation.summary import OVERALLS, Overall

FILE = Path(__file__).with_name("pixmaps.bin")
_PIXEL_BYTES = 4


def painted(overall: Overall, size: int, sizes: tuple[int, ...]) -> bytes | None:
    """Return a state's pixels in one of the `sizes`. Return None if the file is missing or was made for other sizes."""
    pixels = _all()
    lengths = [_PIXEL_BYTES * s * s for s in sizes]
    if size not in sizes or len(pixels) != sum(lengths) * len(OVERALLS):
        return None
    start = sum(lengths) * OVERALLS.index(overall) + sum(lengths[: sizes.index(size)])
    return pixels[start : start + lengths[sizes.index(size)]]


@cache
def _all() -> bytes:
    try:
        return zlib.decompress(FILE.read_bytes())
    except (OSError, zlib.error):
        return b""


def paint_all() -> bytes:
    """Return the content of the file, painted now."""
    from trayagent.desktop.icon import SIZES, paint

    pixels = b"".join(paint(overall, size) for overall in OVERALLS for size in SIZES)
    return zlib.compress(pixels, 9)


if __name__ == "__main__":
    FILE.write_bytes(paint_all())
