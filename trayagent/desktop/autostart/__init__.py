"""Start at login by a systemd user unit, an XDG autostart entry or a LaunchAgent, whichever works here."""

from trayagent.desktop.autostart.choose import (
    Outcome,
    disable,
    enable,
    enabled,
    method_in_use,
    renew,
    spare_masters,
    start_command,
)
from trayagent.desktop.autostart.command import own_command

__all__ = [
    "Outcome",
    "disable",
    "enable",
    "enabled",
    "method_in_use",
    "own_command",
    "renew",
    "spare_masters",
    "start_command",
]
