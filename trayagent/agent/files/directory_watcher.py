"""Watches files: the configuration, ssh's files, keys, new sockets, logs. Sleeps while nothing changes.

On Linux the event loop reads inotify itself. Elsewhere the threads of watchdog do it.
"""

from __future__ import annotations

import sys

from trayagent.agent.files.folder_reports import Listener

if sys.platform == "linux":
    from trayagent.agent.files.inotify_files import Files
else:
    from trayagent.agent.files.watchdog_files import Files

__all__ = ["Files", "Listener"]
