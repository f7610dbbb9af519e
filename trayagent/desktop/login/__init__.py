"""Start at login: a systemd user unit, an XDG autostart entry or a LaunchAgent, whichever works here."""

from trayagent.desktop.login.command import own_command
from trayagent.desktop.login.start import Outcome, disable, enable, enabled, spare_masters, way_in_use

__all__ = ["Outcome", "disable", "enable", "enabled", "own_command", "spare_masters", "way_in_use"]
