from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image, ImageChops

from trayagent.desktop import icon
from trayagent.desktop.icon import COLOURS, OUTLINE, Colour
from trayagent.desktop.icon.icon_theme import icon_name, installed
from trayagent.desktop.icon.painted_icons import FILE, paint_all, painted
from trayagent.presentation import summary
from trayagent.presentation.summary import OVERALLS, Overall

ROOT = Path(__file__).parents[2]
# Panel colours: white, two desktops, black, and the default colours of waybar's tray.
PANELS: tuple[Colour, ...] = (
    (255, 255, 255),
    (242, 242, 242),
    (43, 43, 43),
    (0, 0, 0),
    (41, 128, 185),
    (235, 77, 75),
)
BOTH = [(overall, size) for overall in OVERALLS for size in icon.SIZES]


def luminance(colour: Colour) -> float:
    """Return the relative luminance, as WCAG 2 defines it."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (c / 255 for c in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast ratio, as WCAG 2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def apart(one: Image.Image, other: Image.Image) -> float:
    """Return the share of pixels that clearly differ."""
    histogram = ImageChops.difference(one, other).histogram()
    return sum(histogram[100:]) / (one.width * one.height)


def view(*states: str, online: bool = True, paused: bool = False, **more: Any) -> dict[str, Any]:
    """Return the parts of a view that the summary reads.

    A state may contain a problem, as in "offline/captive-portal".
    """
    hosts: list[dict[str, Any]] = []
    for number, state in enumerate(states):
        word, _, code = state.partition("/")
        problem = {"code": code, "title": "", "hint": ""} if code else None
        hosts.append({"name": f"h{number}", "state": word, "problem": problem, "forwards": []})
    default = {"interface": "wlan0", "address": "192.168.10.2", "gateway": "192.168.10.1"}
    network = {"online": online, "name": None, "default": default if online else None}
    agent = {"paused": paused, "paused_until": None}
    return {"agent": agent, "network": network, "vpns": [], "hosts": hosts} | more


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (view("connected", "connected"), "all-connected"),
        (view("connected", "idle", "paused"), "all-connected"),
        (view("connected", "waiting"), "some-connected"),
        (view("connected", "needs-vpn"), "some-connected"),
        (view("connected", "offline"), "some-connected"),
        (view("connected", "checking"), "working"),
        (view("connecting", "offline"), "working"),
        (view("waiting"), "working"),
        (view("offline", "needs-vpn"), "offline"),
        (view("offline", online=False), "offline"),
        (view("failed", online=False), "offline"),
        (view("connected", online=False), "all-connected"),
        (view("connected", "needs-sign-in"), "needs-you"),
        (view("connected", "failed", online=False), "needs-you"),
        (view("connecting", "failed"), "needs-you"),
        (view("offline/captive-portal"), "needs-you"),
        (view("idle/captive-portal"), "nothing-to-do"),
        (view("connected", "idle/captive-portal"), "all-connected"),
        (view("connected", "failed", paused=True), "paused"),
        (view(paused=True), "paused"),
        (view("paused", "idle"), "paused"),
        (view("idle"), "nothing-to-do"),
        (view(), "nothing-to-do"),
        (view("idle", online=False), "nothing-to-do"),
    ],
)
def test_the_icon_shows_the_most_urgent_state(given: dict[str, Any], expected: Overall) -> None:
    """The icon ignores hosts that are not in use. Without a network, it does not ask for the user."""
    assert summary.overall(given) == expected


@pytest.mark.parametrize("hosts", [(), ("connected",), ("connecting",)])
def test_a_configuration_with_a_mistake_needs_you(hosts: tuple[str, ...]) -> None:
    """The icon shows a mistake even without a listed host, because it may be in the first configuration."""
    given = view(*hosts)
    given["agent"]["config_error"] = "config.toml: line 3"
    assert summary.overall(given) == "needs-you"


@pytest.mark.parametrize(
    ("states", "expected", "words"),
    [
        (("failed", "open"), "some-connected", "1 of 1 connected · a forward is not open · wlan0"),
        (("failed", "failed"), "some-connected", "1 of 1 connected · 2 forwards are not open · wlan0"),
        (("opening", "open"), "all-connected", "1 of 1 connected · wlan0"),
    ],
)
def test_a_connected_host_with_a_failed_forward_is_incomplete(
    states: tuple[str, ...], expected: Overall, words: str
) -> None:
    """The icon and the headline show a failed forward, because the user would notice it only when using the port."""
    given = view("connected")
    given["hosts"][0]["forwards"] = [{"state": state} for state in states]
    assert summary.overall(given) == expected
    assert summary.headline(given) == words
    given["hosts"][0]["state"] = "idle"
    assert summary.overall(given) == "nothing-to-do"


@pytest.mark.parametrize(("waits", "expected"), [("needs-vpn", "needs-you"), ("idle", "all-connected")])
def test_an_expired_vpn_needs_you_only_if_a_host_waits(waits: str, expected: Overall) -> None:
    """An expired VPN that no host needs does not interrupt the user."""
    vpn = {"name": "corp", "state": "needs-sign-in", "hosts": ["h0"]}
    assert summary.overall(view(waits, "connected", vpns=[vpn])) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (view("connected", "waiting", "idle"), "1 of 2 connected · wlan0"),
        (view("connected", "paused"), "1 of 1 connected · 1 paused · wlan0"),
        (view("offline", online=False), "0 of 1 connected · no network"),
        (view("paused", paused=True), "paused · wlan0"),
        (view("idle"), "Nothing to connect · wlan0"),
        (view(), "No hosts yet · wlan0"),
        (
            view("connected", network={"online": True, "name": "Café", "default": None}),
            "1 of 1 connected · Café",
        ),
    ],
)
def test_the_headline_agrees_with_the_icon(given: dict[str, Any], expected: str) -> None:
    """The headline counts the same hosts, and names the network."""
    assert summary.headline(given) == expected


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("colour", COLOURS.values())
def test_the_pixels_are_visible_on_every_panel(colour: Colour, panel: Colour) -> None:
    """The shape or its outline has a contrast of 3 or more to the panel, and the shape to its outline (WCAG 1.4.11)."""
    assert max(contrast(colour, panel), contrast(OUTLINE, panel)) >= 3
    assert contrast(colour, OUTLINE) >= 3


@pytest.mark.parametrize("size", icon.SIZES)
def test_states_can_be_distinguished_by_shape_alone(size: int) -> None:
    """In one colour, at least one pixel in twenty clearly differs between any two states."""
    for one, other in itertools.combinations(OVERALLS, 2):
        assert apart(icon.mask(one, size), icon.mask(other, size)) > 0.05, (one, other)


@pytest.mark.parametrize("overall", OVERALLS)
def test_only_the_state_that_needs_you_has_a_colour(overall: Overall) -> None:
    """Only the state that needs the user has a colour."""
    coloured = icon.mask(overall, 22, "warning").getbbox() is not None
    assert coloured == (overall == "needs-you")


@pytest.mark.parametrize(("overall", "size"), BOTH)
def test_the_icon_fills_its_square_and_no_faint_seam_surrounds_it(overall: Overall, size: int) -> None:
    """The shapes leave a margin of about a sixteenth, and the outline stays inside the square."""
    picture = icon.image(overall, size)
    assert (picture.mode, picture.size) == ("RGBA", (size, size))
    left, top, right, bottom = icon.mask(overall, size).getbbox() or (0, 0, 0, 0)
    assert min(right - left, bottom - top) >= 0.8 * size
    assert min(left, top, size - right, size - bottom) >= round(size / 16) - 1


@pytest.mark.parametrize(
    "name", ["assets/icon.svg", *(f"assets/icons/trayagent-{o}-symbolic.svg" for o in OVERALLS)]
)
def test_the_files_have_fills_only(name: str) -> None:
    """The symbolic icons consist of fills only, because desktops recolour only fills."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "stroke" not in text
    assert 'fill="none"' not in text


def test_the_icon_has_a_name_only_where_the_theme_has_its_files(tmp_path: Path) -> None:
    """The icon has a name only if the theme has its files, because a panel shows no icon for an unknown name."""
    env = {"HOME": "/nowhere", "XDG_DATA_DIRS": f"/nowhere:{tmp_path}"}
    assert not installed(env)
    folder = tmp_path / "icons" / "hicolor" / "symbolic" / "apps"
    folder.mkdir(parents=True)
    for overall in OVERALLS:
        assert not installed(env)
        name = f"{icon_name(overall)}.svg"
        (folder / name).write_bytes((ROOT / "assets" / "icons" / name).read_bytes())
    assert installed(env)
    assert installed({"HOME": "/nowhere", "XDG_DATA_HOME": str(tmp_path)})


@pytest.mark.parametrize(("overall", "size"), BOTH)
def test_argb_is_alpha_first_row_by_row(overall: Overall, size: int) -> None:
    """The pixmap has four bytes per pixel, in network byte order (StatusNotifierItem's IconPixmap)."""
    data, picture = icon.argb(overall, size), icon.image(overall, size)
    assert len(data) == 4 * size * size
    for x, y in ((0, 0), (size // 2, size // 2), (size - 2, size // 3), (size // 4, size - 2)):
        at = 4 * (y * size + x)
        alpha, *colour = data[at : at + 4]
        assert (*colour, alpha) == picture.getpixel((x, y))


def test_each_icon_is_painted_once() -> None:
    """A second call returns the same objects."""
    assert icon.image("paused", 22) is icon.image("paused", 22)
    assert icon.argb("paused", 22) is icon.argb("paused", 22)


def test_pillow_is_not_imported_before_an_icon_is_needed() -> None:
    """Neither an icon module nor the summary imports Pillow early, so commands do not spend time on it."""
    code = "import sys; import trayagent.desktop.icon, trayagent.presentation.summary; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def make_icons() -> ModuleType:
    """Return assets/make_icons.py as a module."""
    spec = importlib.util.spec_from_file_location("make_icons", ROOT / "assets" / "make_icons.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_in_assets_are_of_this_design() -> None:
    """The script still writes the same files as in assets, and the sheet in the documentation shows every state."""
    made = make_icons()
    for path, text in made.svg_files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python assets/make_icons.py"
    with Image.open(made.SHEET) as kept:
        new = made.sheet()
        # ignore text, because letters differ between builds of Pillow
        below_words = (0, made.LABEL, new.width, new.height)
        same = ImageChops.difference(kept.convert("RGB").crop(below_words), new.crop(below_words))
    assert same.getbbox() is None, "docs/icons.png: run python assets/make_icons.py"


def test_the_painted_file_matches_the_design() -> None:
    """The painted file, which the agent shows without Pillow, matches the design.

    Paint it again after a change of the design.
    """
    assert zlib.decompress(FILE.read_bytes()) == zlib.decompress(paint_all())
    words = [
        sys.executable,
        "-c",
        "import sys; from trayagent.desktop import icon; icon.argb('offline', 22); print('PIL' in sys.modules)",
    ]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "False\n"
    assert painted("offline", 22, (22,)) is None, "the file holds another set of sizes"
