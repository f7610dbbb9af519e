"""`python -m trayagent` does the same as the command `trayagent`."""

from __future__ import annotations

import sys

from trayagent.cli.main import entry

sys.exit(entry())
