"""Detect processes in another mount or network namespace; macOS has no namespaces."""

from __future__ import annotations

import sys

if sys.platform == "darwin":

    def in_other_namespace(pid: int) -> bool:
        """Return False: macOS has no namespaces."""
        del pid
        return False

    def owner_elsewhere(path: str) -> int | None:
        """Return None: macOS has no namespaces."""
        del path
        return None

else:
    from trayagent.ssh.os.linux_namespaces import in_other_namespace, owner_elsewhere

__all__ = ["in_other_namespace", "owner_elsewhere"]
