"""trayagent: restores ssh masters and their forwards as soon as the network can carry them."""

__version__ = "0.1.0"
