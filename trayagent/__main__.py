"""`python -m trayagent` is `trayagent`."""

from __future__ import annotations

import sys

from trayagent.cli.main import entry

sys.exit(entry())
