"""The tray's menu as data: its lines, their order, and what each line does; pure."""

from trayagent.desktop.menu.items import Item, Menu
from trayagent.desktop.menu.scene import Options
from trayagent.desktop.menu.tooltip import tooltip
from trayagent.desktop.menu.whole import build

__all__ = ["Item", "Menu", "Options", "build", "tooltip"]
