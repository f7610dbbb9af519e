"""Writes the parts of the Debian package that come from the project; build-deb.sh calls it.

Usage: python installers/linux/deb_parts.py ROOT DATE MAINTAINER   DATE: seconds since 1970
       python installers/linux/deb_parts.py --carried | --from-debian

`--carried` prints the dependencies that the package contains, pinned as in pyproject.toml. `--from-debian`
prints the Debian packages that provide the other dependencies.
"""

from __future__ import annotations

import datetime as dt
import gzip
import re
import sys
import textwrap
import tomllib
from email.utils import format_datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

FROM_DEBIAN = {"pillow": "python3-pil", "platformdirs": "python3-platformdirs", "rich": "python3-rich"}
"""Debian 12 and its successors have these packages in new enough versions, and fix their vulnerabilities.

The other dependencies are missing in Debian 12, or too old.
"""
NEEDED_BY_CARRIED = ("python3-six",)  # pystray needs it
MACOS = " sys_platform == 'darwin'"
"""The marker in pyproject.toml of a dependency that only macOS needs."""
SIZES = (16, 22, 24, 32, 48)
UNIT_MARK = (
    "Part of the Debian package; `systemctl --user enable --now trayagent` starts it now and at each login."
)


def carried() -> list[str]:
    """Return the requirements whose wheels are in the package."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parts = [requirement.partition(";") for requirement in project["dependencies"]]
    pins = [pin.strip() for pin, _, marker in parts if marker != MACOS]
    return [pin for pin in pins if pin.partition("==")[0] not in FROM_DEBIAN]


def write_parts(root: Path, when: dt.datetime) -> None:
    """Write manual page, completions, unit, desktop file, icons and changelog below `root`."""
    share = root / "usr" / "share"
    for path, content in {**_texts(share, when), **_icons(share)}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    unit = root / "usr" / "lib" / "systemd" / "user" / "trayagent.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(_unit(), encoding="utf-8")


def _texts(share: Path, when: dt.datetime) -> dict[Path, bytes]:
    from installers.manual.make_manual import manual

    completions = PROJECT / "installers" / "completions"
    return {
        share / "man/man1/trayagent.1.gz": _packed(manual(when.date())),
        share / "bash-completion/completions/trayagent": (completions / "trayagent.bash").read_bytes(),
        share / "zsh/vendor-completions/_trayagent": (completions / "_trayagent").read_bytes(),
        share / "fish/vendor_completions.d/trayagent.fish": (completions / "trayagent.fish").read_bytes(),
        share / "applications/trayagent.desktop": (
            PROJECT / "installers/linux/trayagent.desktop"
        ).read_bytes(),
        share / "doc/trayagent/changelog.gz": _packed(_changelog(when)),
        share / "doc/trayagent/copyright": (PROJECT / "installers/linux/copyright").read_bytes(),
    }


def _icons(share: Path) -> dict[Path, bytes]:
    import io

    from trayagent.desktop.icon.program_icon import program_icon

    hicolor = share / "icons" / "hicolor"
    files = {hicolor / "scalable/apps/trayagent.svg": (PROJECT / "assets" / "icon.svg").read_bytes()}
    for path in (PROJECT / "assets" / "icons").glob("*-symbolic.svg"):
        files[hicolor / "symbolic/apps" / path.name] = path.read_bytes()
    for size in SIZES:
        data = io.BytesIO()
        program_icon(size).save(data, "PNG", optimize=True)
        files[hicolor / f"{size}x{size}/apps/trayagent.png"] = data.getvalue()
    return files


def _unit() -> str:
    """Return the unit that `trayagent install` writes, for the program of the package."""
    from trayagent.desktop.autostart import linux_systemd, write_files

    return linux_systemd.unit(("/usr/bin/trayagent", "run")).replace(write_files.MARK, UNIT_MARK)


def _changelog(when: dt.datetime) -> str:
    """Return the newest section of CHANGELOG.md in Debian's format."""
    from trayagent import __version__

    section = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1]
    points = re.findall(r"^- (.*)$", section, re.MULTILINE)
    lines = "\n".join(
        textwrap.fill(point, 78, initial_indent="  * ", subsequent_indent="    ") for point in points
    )
    head = f"trayagent ({__version__}) unstable; urgency=medium"
    return f"{head}\n\n{lines}\n\n -- {sys.argv[3]}  {format_datetime(when)}\n"


def _packed(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


if __name__ == "__main__":
    if sys.argv[1] == "--carried":
        sys.stdout.write("\n".join(carried()) + "\n")
    elif sys.argv[1] == "--from-debian":
        sys.stdout.write(", ".join(sorted((*FROM_DEBIAN.values(), *NEEDED_BY_CARRIED))))
    else:
        write_parts(Path(sys.argv[1]), dt.datetime.fromtimestamp(int(sys.argv[2]), dt.UTC))
