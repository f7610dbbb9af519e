"""Adds the manual page to the wheel; hatchling calls it. pyproject.toml lists the other data files of the wheel.

The page is made from the program itself, so it cannot differ from `--help`. Its date is SOURCE_DATE_EPOCH, or
today, so that the same sources and date give the same wheel.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WheelData(BuildHookInterface):  # type: ignore[misc]
    """The build hook, which writes the page to a temporary directory. Source: hatchling, *Build hook plugins*."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add `share/man/man1/trayagent.1`, except to an editable installation, where it would become outdated."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        try:
            from installers.manual.make_manual import manual
        finally:
            sys.path.remove(self.root)
        self._directory = tempfile.TemporaryDirectory()
        page = Path(self._directory.name, "trayagent.1")
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        when = dt.datetime.fromtimestamp(int(epoch), dt.UTC) if epoch else dt.datetime.now().astimezone()
        page.write_text(manual(when.date()), encoding="utf-8")
        build_data["shared_data"][str(page)] = "share/man/man1/trayagent.1"

    def finalize(self, version: str, *_: object) -> None:
        """Remove the directory."""
        if version != "editable":
            self._directory.cleanup()
