"""The tray's menu as data: its lines, their order, and what each line does; pure."""

from trayagent.desktop.menu.build_menu import build
from trayagent.desktop.menu.items import Item, Menu
from trayagent.desktop.menu.menu_input import Failure, Options
from trayagent.desktop.menu.tooltip import tooltip

__all__ = ["Failure", "Item", "Menu", "Options", "build", "tooltip"]
