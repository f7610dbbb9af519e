"""Start at login by a systemd user unit, an XDG autostart entry or a LaunchAgent, whichever works here."""

from trayagent.desktop.autostart.choose import Outcome, disable, enable, enabled, spare_masters, way_in_use
from trayagent.desktop.autostart.command import own_command

__all__ = ["Outcome", "disable", "enable", "enabled", "own_command", "spare_masters", "way_in_use"]
